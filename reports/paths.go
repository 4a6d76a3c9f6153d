package reports

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Path has the latency and throughput between two ends, over several rounds. They are reported and never judged.
type Path struct {
	// Name is the kind of path: "unix stream", "ClusterIP, pod on another node".
	Name string `json:"name"`
	// From and To are the two ends, as in Failure.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Rounds is how many rounds the figures are of.
	Rounds int `json:"rounds,omitempty"`
	// LatencyP50 and LatencyP99 are the quantiles of the round trip of a small message on one connection.
	LatencyP50 Times `json:"latencyP50,omitzero"`
	LatencyP99 Times `json:"latencyP99,omitzero"`
	// Throughput is in bytes per second in one direction on one connection, as the receiver counted them.
	Throughput Rates `json:"throughputBytesPerSecond,omitzero"`
	// Connections is the number of connections per second, made one after another, each with a byte in each direction.
	Connections Rates `json:"connectionsPerSecond,omitzero"`
	// Missing says why it was not measured; "" where it was.
	Missing string `json:"missing,omitempty"`
	// Trouble is the error of rounds that failed and are not in the figures; "" where none did.
	Trouble string `json:"trouble,omitempty"`
}

// Times are the median of the rounds, and the lowest and highest of them.
type Times struct {
	Median time.Duration `json:"median"`
	Low    time.Duration `json:"low"`
	High   time.Duration `json:"high"`
}

// Rates are the median of the rounds, and the lowest and highest of them, as a number per second.
type Rates struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// TimesOf returns the Times of rounds; the zero value of none.
func TimesOf(rounds []time.Duration) Times {
	if len(rounds) == 0 {
		return Times{}
	}
	s := slices.Sorted(slices.Values(rounds))
	return Times{Median: s[len(s)/2], Low: s[0], High: s[len(s)-1]}
}

// RatesOf returns the Rates of rounds; the zero value of none.
func RatesOf(rounds []float64) Rates {
	if len(rounds) == 0 {
		return Rates{}
	}
	s := slices.Sorted(slices.Values(rounds))
	return Rates{Median: s[len(s)/2], Low: s[0], High: s[len(s)-1]}
}

// timesWire has durations as text.
type timesWire struct {
	Median duration `json:"median"`
	Low    duration `json:"low"`
	High   duration `json:"high"`
}

// MarshalJSON writes durations as text.
func (t Times) MarshalJSON() ([]byte, error) {
	return encode(timesWire{duration(t.Median), duration(t.Low), duration(t.High)})
}

// UnmarshalJSON reads durations as text.
func (t *Times) UnmarshalJSON(b []byte) error {
	var w timesWire
	err := json.Unmarshal(b, &w)
	*t = Times{time.Duration(w.Median), time.Duration(w.Low), time.Duration(w.High)}
	return err
}

// paths is a table of what was measured, with a plot of the latencies on a logarithmic scale.
func (s *summaryWriter) paths(c *Cluster) {
	if len(c.Paths) == 0 {
		return
	}
	rounds := 0
	for _, p := range c.Paths {
		rounds = max(rounds, p.Rounds)
	}
	s.title(s.bold, fmt.Sprintf("PATHS measured, not judged: medians of %d rounds (lowest to highest)", rounds))
	rows := [][]string{{"", "latency p50", "p99", "throughput", "connections/s", "p50 from 100ns, # is x1.41"}}
	for _, p := range c.Paths {
		if p.Missing != "" {
			rows = append(rows, []string{oneLine(p.Name), "not measured: " + oneLine(p.Missing)})
			continue
		}
		rows = append(rows, []string{oneLine(p.Name), p.LatencyP50.String(), p.LatencyP99.String(),
			p.Throughput.text(bytesPerSecond), p.Connections.text(count), bar(p.LatencyP50.Median)})
	}
	s.aligned(rows)
	for _, p := range c.Paths {
		if p.Trouble != "" {
			s.item(p.Name + ": " + p.Trouble)
		}
	}
}

// plotFrom is the time that a plot begins at: each character is a factor of the square root of 2 above it, so that
// plots of two reports can be laid side by side.
const plotFrom = 100 * time.Nanosecond

func bar(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return strings.Repeat("#", max(1, int(math.Round(2*math.Log2(float64(d)/float64(plotFrom))))))
}

// String is "12.3µs (11.9µs to 14µs)".
func (t Times) String() string {
	if t == (Times{}) {
		return "-"
	}
	return fmt.Sprintf("%s (%s to %s)", threeDigits(t.Median), threeDigits(t.Low), threeDigits(t.High))
}

// threeDigits rounds to what can be told of a measured time.
func threeDigits(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

func (r Rates) text(of func(float64) string) string {
	if r == (Rates{}) {
		return "-"
	}
	return fmt.Sprintf("%s (%s to %s)", of(r.Median), of(r.Low), of(r.High))
}

// bytesPerSecond writes in decimal units, as networks are measured.
func bytesPerSecond(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.2f GB/s", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.0f MB/s", v/1e6)
	}
	return fmt.Sprintf("%.0f kB/s", v/1e3)
}

func count(v float64) string { return fmt.Sprintf("%.0f", v) }
