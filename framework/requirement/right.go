package requirement

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Right is something that an API server may let a user do.
type Right struct {
	User string
	Verb string // "get", "create"
	On   string // a resource with its subresource, "pods/proxy", or the path of a request that is for none
	// Group is the resource's API group, "" for the core group and for a path.
	Group string
}

func (r Right) String() string {
	if r.Group != "" {
		return fmt.Sprintf("%s %s.%s", r.Verb, r.On, r.Group)
	}
	return r.Verb + " " + r.On
}

// notAuthorized is the sentence of an API server whose authorizer refuses a request, whichever authorizer that is (ForbiddenMessage in
// k8s.io/apiserver). Admission, which also answers 403, has other words.
var notAuthorized = regexp.MustCompile(`User ("(?:[^"\\]|\\.)*") cannot (\S+) (?:resource "([^"]+)" in API group "([^"]*)"|path "([^"]+)")`)

// RefusedRight finds in the text of an error the right for want of which an API server refused a request.
func RefusedRight(text string) (Right, bool) {
	said := notAuthorized.FindStringSubmatch(text)
	if said == nil { // in the JSON of an answer that was not decoded
		said = notAuthorized.FindStringSubmatch(strings.ReplaceAll(text, `\"`, `"`))
	}
	if said == nil {
		return Right{}, false
	}
	user, err := strconv.Unquote(said[1])
	if err != nil {
		return Right{}, false
	}
	return Right{User: user, Verb: said[2], On: said[3] + said[5], Group: said[4]}, true
}

// NotPermitted says that a check could not judge, because the user whom the run acts for lacks a right.
type NotPermitted struct {
	Right Right
	Err   error // what the check made of it
}

func (n *NotPermitted) Error() string {
	return fmt.Sprintf("the right to %s is missing: grant it to %s (manifests/rbac/parley.yaml has what the requirements need); %s",
		n.Right, n.Right.User, n.Err)
}

func (n *NotPermitted) Unwrap() error { return n.Err }

// WithoutRight is the check's error as *NotPermitted where it comes of a request of this user's that was refused for want of a right,
// whatever the check made of it; else it is the error itself. What the API server refuses to others, such as to a pod's own service
// account, is for the check to judge. An unknown user ("") is any that is not one of the cluster's own.
func WithoutRight(err error, user string) error {
	var already *NotPermitted
	if err == nil || errors.As(err, &already) {
		return err
	}
	right, ok := RefusedRight(err.Error())
	if !ok || user != "" && right.User != user || user == "" && systemUser.MatchString(right.User) {
		return err
	}
	return &NotPermitted{Right: right, Err: err}
}

var systemUser = regexp.MustCompile(`^system:`)
