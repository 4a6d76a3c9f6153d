package suite

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/fixtures/world"
)

// built is the image of the reference implementations, or why there is none.
type built struct {
	image *image.Image
	err   error
}

// startReference begins to build the reference implementations where something that was chosen would be tested on them,
// beside the making of the cluster.
func (l *lab) startReference(roles map[world.Role]bool) {
	if l.building != nil || !wantsReference(roles) || (l.run.config.existing() && l.run.config.Reference == "") {
		return
	}
	l.building = make(chan built, 1)
	if l.run.config.existing() {
		l.building <- built{}
		return
	}
	go func() {
		i, err := image.BuildReference(l.run.ctx, hostArch())
		l.building <- built{i, err}
	}()
}

// wantsReference says whether one of the roles is played by a reference implementation.
func wantsReference(roles map[world.Role]bool) bool {
	return slices.ContainsFunc(world.ReferenceRoles, func(r world.Role) bool { return roles[r] })
}

// bringReference plans the reference implementations where one of the roles is theirs: on a cluster that was made here with
// an image that it loads, on one of the user's with the image that is named. Of columns that share a cluster one at most
// needs them, see besideHandlers.
func (l *lab) bringReference(ctx context.Context, roles map[world.Role]bool) error {
	if l.building == nil || !wantsReference(roles) {
		return nil
	}
	config := l.run.config
	var of built
	select {
	case of = <-l.building:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if of.err != nil {
		return of.err
	}
	if of.image == nil {
		l.plan.Reference = config.Reference
		for _, text := range split(config.Addresses) {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("-reference-addresses %s: %w", text, err)
			}
			l.plan.Addresses = append(l.plan.Addresses, prefix)
		}
		if len(l.plan.Addresses) == 0 {
			return errors.New("-reference needs -reference-addresses, a part of the nodes' network that is free for the run")
		}
	} else if err := l.loadReference(ctx, of.image); err != nil {
		return err
	}
	var err error
	l.plan.GatewayAPI, err = l.bringGatewayAPI(ctx)
	return err
}

func (l *lab) loadReference(ctx context.Context, i *image.Image) error {
	start := time.Now()
	dir, err := os.MkdirTemp("", l.run.id.Name("reference")+"-")
	if err != nil {
		return fmt.Errorf("making a folder for the reference implementations' image: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	archive := filepath.Join(dir, "reference.tar")
	if err := i.Save(archive); err != nil {
		return err
	}
	if err := l.cluster.LoadImage(ctx, i.Ref(), archive); err != nil {
		return err
	}
	l.plan.Reference, l.plan.Addresses = i.Ref(), l.cluster.SpareAddresses()
	l.run.progress.say("reference implementations loaded into every node (%.1fs)", time.Since(start).Seconds())
	return nil
}

// applyReference makes what the reference implementations need besides their pods. What is in namespaces goes with them.
func (l *lab) applyReference(ctx context.Context) error {
	if l.plan.Reference == "" {
		return nil
	}
	for _, r := range l.plan.ReferenceRights() {
		if _, err := l.kube.CoreV1().ServiceAccounts(r.Account.Namespace).Create(ctx, r.Account, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making the account of the reference implementations: %w", err)
		}
		if _, err := l.kube.RbacV1().Roles(r.Role.Namespace).Create(ctx, r.Role, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("granting the reference implementations their rights: %w", err)
		}
		if _, err := l.kube.RbacV1().RoleBindings(r.Binding.Namespace).Create(ctx, r.Binding, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("granting the reference implementations their rights: %w", err)
		}
	}
	classes := l.kube.NetworkingV1().IngressClasses()
	class, err := classes.Create(ctx, l.plan.IngressClass(), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making the run's IngressClass: %w", err)
	}
	l.undoUnlessKept("removing the IngressClass "+class.Name, func(ctx context.Context) error {
		return unlessGone(classes.Delete(ctx, class.Name, metav1.DeleteOptions{}))
	})
	return l.applyGatewayClass(ctx)
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
