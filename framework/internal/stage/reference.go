package stage

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/world"
)

// WantsReference says whether one of the roles is played by a reference implementation.
func WantsReference(roles map[world.Role]bool) bool {
	return slices.ContainsFunc(world.ReferenceRoles, func(r world.Role) bool { return roles[r] })
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
	for _, r := range s.plan.ReferenceRights() {
		if _, err := s.kube.CoreV1().ServiceAccounts(r.Account.Namespace).Create(ctx, r.Account, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making the account of the reference implementations: %w", err)
		}
		if _, err := s.kube.RbacV1().Roles(r.Role.Namespace).Create(ctx, r.Role, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("granting the reference implementations their rights: %w", err)
		}
		if _, err := s.kube.RbacV1().RoleBindings(r.Binding.Namespace).Create(ctx, r.Binding, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("granting the reference implementations their rights: %w", err)
		}
	}
	classes := s.kube.NetworkingV1().IngressClasses()
	class, err := classes.Create(ctx, s.plan.IngressClass(), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making the run's IngressClass: %w", err)
	}
	s.undoUnlessKept("removing the IngressClass "+class.Name, func(ctx context.Context) error {
		return unlessGone(classes.Delete(ctx, class.Name, metav1.DeleteOptions{}))
	})
	return s.applyGatewayClass(ctx)
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
