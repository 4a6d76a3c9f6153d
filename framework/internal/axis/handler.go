package axis

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/parley-k8s/parley/framework/internal/handler"
)

// HandlerFlag is the flag of the axis of OCI handlers.
const HandlerFlag = "handler"

// Handler is the axis of the OCI handlers that pods run under, each by a RuntimeClass: of clusters that Parley makes those that
// it sets up, of a cluster that exists the RuntimeClasses that it has.
func Handler() Axis {
	return Axis{
		Name: "OCI handler", Flag: HandlerFlag, Set: "handlers", Shared: true, Chooses: "the OCI handler that is judged",
		Values:   handlers(),
		Apply:    func(s *Spec, handler string) { s.Handler = handler },
		Existing: &Existing{Takes: "the name of a RuntimeClass", Values: runtimeClasses},
		Doctor:   DoctorLine{Key: "handlers", Label: "OCI handlers"},
	}
}

func handlers() (values []Value) {
	for _, h := range handler.All() {
		v := Value{Word: h.Name}
		if h.Name != handler.Default {
			v.Conflicts = handlerConflicts
		}
		if len(h.Architectures) > 0 {
			v.Lacks = architecture(h.Architectures...)
		}
		values = append(values, v)
	}
	return values
}

// handlerConflicts says why an OCI handler that nodes are set up for can't be had with the cluster's other values; "" where it can.
func handlerConflicts(s Spec) string {
	if r := s.otherRuntime(); r != "" {
		return "it is set up in containerd, and the nodes' runtime would be " + r
	}
	return ""
}

// runtimeClasses are the RuntimeClasses of those names as values, each once.
func runtimeClasses(names []string) (values []Value, err error) {
	for _, name := range names {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return nil, fmt.Errorf("-%s %s is no name of a RuntimeClass: %s", HandlerFlag, name, strings.Join(problems, "; "))
		}
		if !slices.ContainsFunc(values, func(v Value) bool { return v.Word == name }) {
			values = append(values, Value{Word: name})
		}
	}
	return values, nil
}
