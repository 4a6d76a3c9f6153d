package requirement

import (
	"fmt"
	"slices"

	"github.com/parley-k8s/parley/fixtures/world"
)

// Role is the one end that plays the role, under the variant in force. It panics where the requirement does not declare the
// role in Roles or Wants, and where this cluster has nobody for it: a role in Roles is played whenever a check runs, of one in
// Wants a check asks by Roles or OnNode. The suite reports the row as not judged then.
func (e *Env) Role(r world.Role) *End {
	all := e.Roles(r)
	if len(all) == 0 {
		panic(fmt.Sprintf("nobody plays the role %q in this cluster and %s can't do without: name it in its Roles, or ask for it by Env.Roles", r, e.Requirement.ID))
	}
	return all[0]
}

// Roles are all the ends that play one of the roles, role by role, under the variant in force: one on every node for world.Everywhere and world.Node.
// It panics as Role does for a role that is not declared: what is not declared is deployed only if some other requirement of the
// run happens to need it.
func (e *Env) Roles(roles ...world.Role) (all []*End) {
	for _, r := range roles {
		e.mustDeclare(r)
		if e.Variant != nil {
			if other, ok := e.Variant.Roles[r]; ok {
				r = other
			}
		}
		all = append(all, e.Players.EndsFrom(e.Node, r)...)
	}
	return all
}

// RolesAsDeployed are the ends that play the role whatever the variant in force says, for a check that asks who else is
// there. It panics as Roles does.
func (e *Env) RolesAsDeployed(r world.Role) []*End {
	e.mustDeclare(r)
	return e.Players.EndsFrom(e.Node, r)
}

// OnNode is the end of the role on the named node, nil where there is none. It panics as Roles does.
func (e *Env) OnNode(r world.Role, node string) *End {
	for _, end := range e.Roles(r) {
		if end.Node == node {
			return end
		}
	}
	return nil
}

// Service is the Service that plays the part, under the variant in force. It panics where the requirement does not declare the
// Service in Services, and where the cluster has none.
func (e *Env) Service(s world.Service) ServiceSeen {
	if !e.declaresService(s) {
		panic(fmt.Sprintf("%s asks for the Service %q and does not declare it: add it to its Services", e.Requirement.ID, s))
	}
	if e.Variant != nil {
		if other, ok := e.Variant.Services[s]; ok {
			s = other
		}
	}
	seen, ok := e.Players.Service(e.World.ServiceFrom(e.Node, s))
	if !ok {
		panic(fmt.Sprintf("there is no Service %q in this cluster, which %s asks for", s, e.Requirement.ID))
	}
	return seen
}

func (e *Env) mustDeclare(r world.Role) {
	if !e.declaresRole(r) {
		panic(fmt.Sprintf("%s asks for the role %q and does not declare it: add it to its Roles or Wants", e.Requirement.ID, r))
	}
}

// declaresRole says whether the requirement declares the role, or its own variant, which alone is deployed for a proof, has it
// played by another.
func (e *Env) declaresRole(r world.Role) bool {
	q := e.Requirement
	if slices.Contains(q.Roles, r) || slices.Contains(q.Wants, r) {
		return true
	}
	if e.Variant == nil {
		return false
	}
	for _, other := range e.Variant.Roles {
		if other == r {
			return true
		}
	}
	return false
}

func (e *Env) declaresService(s world.Service) bool {
	if slices.Contains(e.Requirement.Services, s) {
		return true
	}
	if e.Variant == nil {
		return false
	}
	for _, other := range e.Variant.Services {
		if other == s {
			return true
		}
	}
	return false
}
