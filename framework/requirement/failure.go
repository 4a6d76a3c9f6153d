package requirement

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// Reason sorts failures, so that a control can demand red for the expected reason.
type Reason string

const (
	NoAnswer     Reason = "no answer"          // silence until the deadline
	Refused      Reason = "refused"            // ECONNREFUSED where an answer was due
	Unreachable  Reason = "unreachable"        // no route, or an ICMP error
	Broken       Reason = "broken"             // reset, or what came back was not what went
	Translated   Reason = "address translated" // the two ends do not name the same addresses
	NotShared    Reason = "not shared"         // what one wrote the other does not find
	Leaked       Reason = "not isolated"       // what one wrote a stranger finds
	NotDistinct  Reason = "not distinct"       // two of something that must differ
	WrongRecord  Reason = "wrong record"       // DNS answered something else
	NameLost     Reason = "name not found"     // DNS did not answer with the name
	WrongPeer    Reason = "wrong peer"         // somebody answered who should not
	Answered     Reason = "answered"           // an answer came where none was due
	WrongSetting Reason = "wrong setting"      // a setting that was asked for is not in force, or is where it should not be
	Missing      Reason = "missing"            // something that the API promises is not there
	WrongServer  Reason = "wrong server"       // what listens there does not speak the protocol
	Denied       Reason = "denied"             // EACCES, EPERM or EROFS where access was due
	Unbounded    Reason = "not bounded"        // a limit that does not hold
	WrongName    Reason = "wrong name"         // a hostname other than the pod's
	Untrusted    Reason = "untrusted"          // a certificate that the CA due did not sign
	Stale        Reason = "stale"              // something that is renewed was not
	NotAsked     Reason = "not asked"          // who should have been asked was not
	Orphaned     Reason = "orphaned"           // what belongs to nothing any more
	LeftOver     Reason = "left over"          // what its owner should have taken along
	Malformed    Reason = "malformed"          // a file or an answer that its reader can't take
	Misplaced    Reason = "misplaced"          // somewhere else than documented
	ClocksDiffer Reason = "apart"              // two clocks that do not agree
	Lost         Reason = "lost"               // something that was there and had to stay
	WrongPort    Reason = "wrong port"         // another port of the right server answered
	Uneven       Reason = "uneven"             // a spread that chance does not explain
	NoEffect     Reason = "no effect"          // what the kubelet was to do did not happen, or not to whom it was to
	Granted      Reason = "granted"            // the API server granted what it had to refuse
	NotGranted   Reason = "not granted"        // the API server refused what was due
	Slow         Reason = "slow"               // it works, and takes many times what its like takes
	WrongAnswer  Reason = "wrong answer"       // an answer with another status or content than due
)

// Failure is a requirement that does not hold: a sentence with both ends in it.
type Failure struct {
	Reason   Reason
	From     *End // nil where the requirement has no such end
	To       *End
	Behind   []*End // the endpoints behind a Service's address that was dialled
	Target   string // what was dialled or looked at: an address, a name, a key
	Protocol string
	Expected string
	Observed string
	// Exchange is what the agent of From was asked, where that is what failed: the diagnosis asks the same again. nil of anything else.
	Exchange *wire.Connect
	Attempts int
	Took     time.Duration
	// Question is the DNS question that was not answered as expected, which a diagnosis asks again elsewhere: of a program the name as
	// it has it, without a dot at its end where the search list completes it. nil where none was asked.
	Question *wire.DNS
	// Final is why no later attempt forgives what was seen, neither of the check nor of a row that is judged again when all else is done; "" where one may.
	Final    string
	becoming bool // it was waited for, see WhyFinal
	// FirstBrokenHop is set by the suite, after walking the ladder, and so is Cause: what breaks this and whatever else it breaks, in one
	// sentence; "" where none was found.
	FirstBrokenHop, Cause string
	Again                 string // a command to see it by hand
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s: expected %s, saw %s", f.ends(), f.Expected, f.Observed)
}

func (f *Failure) ends() string {
	switch {
	case f.From == nil && f.To == nil:
		return f.Target
	case f.From == nil:
		return f.To.String()
	case f.To == nil && f.Target == "":
		return f.From.String()
	case f.To == nil:
		return f.From.String() + " to " + f.Target
	}
	return f.From.String() + " to " + f.To.String()
}

// Unsupported says that the cluster does not show a feature, and what was probed.
type Unsupported struct{ Probed string }

func (u *Unsupported) Error() string { return u.Probed }

// ReasonOf turns how a system call ended into the reason of a failure.
func ReasonOf(e wire.Errno) Reason {
	switch e.Class {
	case wire.TimedOut:
		return NoAnswer
	case wire.Refused:
		return Refused
	case wire.Unreachable:
		return Unreachable
	case wire.NameError:
		return NameLost
	case wire.NotThere:
		return NotShared
	case wire.Untrusted:
		return Untrusted
	case wire.Denied, wire.ReadOnly:
		return Denied
	}
	return Broken
}

// AsFailure finds the failure in an error, nil where there is none.
func AsFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}
