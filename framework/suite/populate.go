package suite

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/internal/measure"
	"github.com/parley-k8s/parley/framework/internal/runid"
)

// setUp finds or makes the cluster and puts the world that the roles need on it.
func (r *Run) setUp(roles map[world.Role]bool) error {
	if err := r.raise(roles); err != nil {
		return err
	}
	return r.populate(roles)
}

// raise finds or makes the cluster. What the roles need that takes long is begun beside it.
func (r *Run) raise(roles map[world.Role]bool) error {
	l := &lab{run: r}
	r.lab = l
	l.startReference(roles)
	var err error
	if r.config.existing() {
		l.image, err = l.join(r.ctx)
	} else {
		l.image, err = l.make(r.ctx)
	}
	if err != nil {
		return r.orInterrupted(err)
	}
	l.config, l.kube = l.cluster.Config(), l.cluster.Client()
	if l.facts, err = l.cluster.Facts(r.ctx); err != nil {
		return r.orInterrupted(fmt.Errorf("asking the cluster what it is: %w", err))
	}
	return nil
}

// populate puts the world that the roles need on the cluster, for the column that is to be judged.
func (r *Run) populate(roles map[world.Role]bool) error {
	l := r.lab
	l.witnessed, l.witnessErr, l.explainer = sync.Once{}, nil, explainer{}
	var err error
	if l.class, err = l.runtimeClass(r.ctx, r.columns[r.at].Spec().Handler); err != nil {
		return r.orInterrupted(err)
	}
	if err := l.planWorld(r.ctx); err != nil {
		return err
	}
	l.startReference(roles)
	if err := l.bringReference(r.ctx, roles); err != nil {
		return r.orInterrupted(err)
	}
	if err := r.openReport(l.facts); err != nil {
		return err
	}
	l.cast = newCast(l.config, l.kube, l.plan)
	l.undo("closing the agents' streams", func(context.Context) error { l.cast.close(); return nil })
	l.explainMissing()
	if err := l.castOutside(); err != nil {
		return err
	}
	start := time.Now()
	if err := l.apply(r.ctx, roles); err != nil {
		return r.orInterrupted(fmt.Errorf("the world could not be set up: %w", err))
	}
	r.progress.say("world: %d agents run (%.1fs)", len(l.cast.agents), time.Since(start).Seconds())
	return nil
}

// rolesNeeded are the roles that the chosen requirements and, with -prove, their controls talk about.
func (r *Run) rolesNeeded() map[world.Role]bool {
	need := map[world.Role]bool{}
	if r.config.Measure {
		for _, role := range measure.Roles {
			need[role] = true
		}
	}
	for _, q := range r.all {
		if r.left[q.ID] != "" {
			continue
		}
		for _, role := range append(append([]world.Role(nil), q.Roles...), q.Wants...) {
			need[role] = true
		}
		if !r.config.Prove {
			continue
		}
		if q.Control.Variant != nil {
			for _, role := range q.Control.Variant.Roles {
				need[role] = true
			}
		} else {
			need[world.Node], need[world.Liar] = true, true
		}
	}
	return need
}

// planWorld places the world on the cluster's nodes.
func (l *lab) planWorld(ctx context.Context) error {
	l.plan = world.Plan{Prefix: l.run.worldName(), Labels: map[string]string{runid.Label: string(l.run.id)}, Image: l.image,
		Tolerate: l.cluster.Owned()}
	places, err := l.placesOf(ctx)
	if err != nil {
		return err
	}
	for _, s := range split(l.run.config.PullSecrets) {
		l.plan.PullSecrets = append(l.plan.PullSecrets, path.Base(s))
	}
	for _, node := range l.facts.Nodes {
		if !node.Ready || places != nil && !places[node.Name].Selected {
			continue
		}
		ordinary := len(node.Taints) == 0 || places[node.Name].Tolerated
		if ordinary {
			l.plan.Workers = append(l.plan.Workers, node.Name)
		}
		if ordinary || l.plan.Tolerate {
			l.plan.Nodes = append(l.plan.Nodes, node.Name)
		}
	}
	if len(l.plan.Workers) == 0 {
		return errors.New("no node of the cluster takes ordinary pods: " + whyNoNode(ctx, l.kube))
	}
	if l.families = l.facts.Families; len(l.families) == 0 {
		return errors.New("the cluster shows no address family: neither its pods nor the kubernetes Service have an IP")
	}
	dns := lookForDNS(ctx, l.kube, l.plan.Workers[0])
	l.plan.ClusterDNS, l.plan.Domain = dns.server, dns.domain
	return nil
}
