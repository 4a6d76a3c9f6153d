package requirement

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/probe"
)

// everybody plays every role and every Service, but for those named.
type everybody struct {
	nobody    world.Role
	noService world.Service
}

func (p everybody) Ends(r world.Role) []*End {
	if r == p.nobody {
		return nil
	}
	return []*End{{Role: r, Node: "n1"}, {Role: r, Node: "n2"}}
}

func (p everybody) EndsFrom(node string, r world.Role) []*End {
	if r == world.SiblingA && node != "" {
		return []*End{{Role: r, Node: node}}
	}
	return p.Ends(r)
}

func (p everybody) Service(s world.Service) (ServiceSeen, bool) {
	seen := &corev1.Service{}
	seen.Name = string(s)
	return ServiceSeen{seen}, s != p.noService
}

func (everybody) Dialer(*End, ...string) probe.Dialer { return nil }

func (everybody) Start(context.Context, *corev1.Pod, func(*corev1.Pod) bool) (*Started, error) {
	return nil, nil
}

func (everybody) Join(*corev1.Pod, string) (*End, error) { return nil, nil }

func (everybody) MarkAbsent(Feature, string) {}

func (everybody) WhyAbsent(Feature) string    { return "" }
func (everybody) NodeFindings() []NodeFinding { return nil }

func TestRolesAreRefusedUnlessDeclared(t *testing.T) {
	variant := &Variant{Roles: map[world.Role]world.Role{world.Near: world.HostIPC}, Services: map[world.Service]world.Service{world.Web: world.Empty}}
	fault := &Fault{Points: []Point{{}}}
	for name, c := range map[string]struct {
		control Control
		variant *Variant // in force
		nobody  world.Role
		ask     world.Role
		plays   world.Role // who is given
		says    string     // of the panic
	}{
		"of Roles":                       {ask: world.Near, plays: world.Near},
		"of Wants":                       {ask: world.Far, plays: world.Far},
		"undeclared":                     {ask: world.Outside, says: `a/b asks for the role "host outside the cluster" and does not declare it: add it to its Roles or Wants`},
		"the variant's other":            {control: Control{Variant: variant}, variant: variant, ask: world.Near, plays: world.HostIPC},
		"the variant's other by name":    {control: Control{Variant: variant}, variant: variant, ask: world.HostIPC, plays: world.HostIPC},
		"a variant that is not in force": {control: Control{Variant: variant}, ask: world.HostIPC, says: `asks for the role "hostIPC pod"`},
		"a fault's agents, by a check":   {control: Control{Fault: fault}, ask: world.Node, says: `asks for the role "node"`},
		"declared and played by nobody":  {nobody: world.Near, ask: world.Near, says: `nobody plays the role "pod on the same node"`},
	} {
		t.Run(name, func(t *testing.T) {
			q := &Requirement{ID: "a/b", Roles: []world.Role{world.Near}, Wants: []world.Role{world.Far}, Control: c.control}
			env := &Env{Requirement: q, Players: everybody{nobody: c.nobody}, Variant: c.variant}
			if c.says != "" {
				require.Contains(t, panicOf(func() { env.Role(c.ask) }), c.says)
				if c.nobody == "" {
					require.Contains(t, panicOf(func() { env.Roles(c.ask) }), c.says)
					require.Contains(t, panicOf(func() { env.RolesAsDeployed(c.ask) }), c.says)
					require.Contains(t, panicOf(func() { env.OnNode(c.ask, "n1") }), c.says)
				}
				return
			}
			require.Equal(t, c.plays, env.Role(c.ask).Role)
			require.Equal(t, "n2", env.OnNode(c.ask, "n2").Node)
			require.Equal(t, c.ask, env.RolesAsDeployed(c.ask)[0].Role)
			require.Nil(t, env.OnNode(c.ask, "n3"))
		})
	}
}

func TestRolesAreSeenFromTheNode(t *testing.T) {
	env := &Env{Requirement: &Requirement{ID: "a/b", Roles: []world.Role{world.SiblingA}, Services: []world.Service{world.Hairpin}},
		Players: everybody{}, Node: "n2", World: world.Plan{Workers: []string{"n1", "n2"}}}
	require.Equal(t, "n2", env.Role(world.SiblingA).Node)
	require.Equal(t, "n2", env.RolesAsDeployed(world.SiblingA)[0].Node)
	require.Equal(t, "hairpin-1", env.Service(world.Hairpin).Name)
	env.Node = ""
	require.Equal(t, "n1", env.Role(world.SiblingA).Node)
	require.Equal(t, "hairpin", env.Service(world.Hairpin).Name)
}

func TestServicesAreRefusedUnlessDeclared(t *testing.T) {
	variant := &Variant{Services: map[world.Service]world.Service{world.Web: world.Empty}}
	for name, c := range map[string]struct {
		variant *Variant
		none    world.Service
		ask     world.Service
		is      string
		says    string
	}{
		"declared":              {ask: world.Web, is: "web"},
		"undeclared":            {ask: world.Empty, says: `a/b asks for the Service "empty" and does not declare it: add it to its Services`},
		"the variant's other":   {variant: variant, ask: world.Web, is: "empty"},
		"that by its own name":  {variant: variant, ask: world.Empty, is: "empty"},
		"declared and not made": {none: world.Web, ask: world.Web, says: `there is no Service "web" in this cluster`},
	} {
		t.Run(name, func(t *testing.T) {
			q := &Requirement{ID: "a/b", Services: []world.Service{world.Web}}
			env := &Env{Requirement: q, Players: everybody{noService: c.none}, Variant: c.variant}
			if c.says != "" {
				require.Contains(t, panicOf(func() { env.Service(c.ask) }), c.says)
				return
			}
			require.Equal(t, c.is, env.Service(c.ask).Name)
		})
	}
}

// panicOf is what a function panics with, "" where it does not.
func panicOf(do func()) (said string) {
	defer func() { said, _ = recover().(string) }()
	do()
	return ""
}
