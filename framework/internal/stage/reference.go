package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

// WantsReference says whether one of the roles is played by a reference implementation.
func WantsReference(roles world.Roles) bool {
	return slices.ContainsFunc(world.ReferenceRoles, func(r world.Role) bool { return roles[r] != 0 })
}

// planReference plans the reference implementations where one of the roles is theirs and the cluster has their image.
func (s *Stage) planReference(ctx context.Context) error {
	if !WantsReference(s.options.Roles) {
		return nil
	}
	of, err := s.lab.Reference(ctx)
	if err != nil || of == nil {
		return err
	}
	s.plan.Reference, s.plan.Addresses = of.Image, of.Addresses
	s.plan.GatewayAPI, err = s.bringGatewayAPI(ctx)
	return err
}

// applyReference makes what the reference implementations need besides their pods. What is in namespaces goes with them.
func (s *Stage) applyReference(ctx context.Context) error {
	if s.plan.Reference == "" {
		return nil
	}
	for _, r := range s.plan.ReferenceRights() { // they go with their namespace
		_, _, account := requirement.Create(ctx, s.kube.CoreV1().ServiceAccounts(r.Account.Namespace), r.Account)
		_, _, role := requirement.Create(ctx, s.kube.RbacV1().Roles(r.Role.Namespace), r.Role)
		_, _, binding := requirement.Create(ctx, s.kube.RbacV1().RoleBindings(r.Binding.Namespace), r.Binding)
		if err := errors.Join(account, role, binding); err != nil {
			return fmt.Errorf("granting the reference implementations their rights: %w", err)
		}
	}
	if _, err := own(ctx, s, s.kube.NetworkingV1().IngressClasses(), s.plan.IngressClass()); err != nil {
		return err
	}
	return s.applyGatewayClass(ctx)
}
