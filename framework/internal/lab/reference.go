package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/parley-k8s/parley/fixtures/agent/image"
)

// Reference is where the reference implementations of LoadBalancer, Ingress and Gateway API come from, and the prefixes that the
// load balancer takes addresses from.
type Reference struct {
	Image     string
	Addresses []netip.Prefix
}

// reference is the image of the reference implementations while it is built, beside the making of the cluster.
type reference struct {
	built chan struct{} // closed when image or err is set
	image *image.Image
	err   error

	load   sync.Once // into the nodes
	failed error
}

// startReference begins to build the image where something needs it; the user's own cluster gets one that the user names.
func (l *Lab) startReference(ctx context.Context) {
	if !l.options.Reference || l.options.Existing {
		return
	}
	r := &reference{built: make(chan struct{})}
	l.reference = r
	ctx, cancel := context.WithCancel(ctx)
	l.undo.Add("ending the build of the reference implementations", func(context.Context) error {
		cancel()
		<-r.built // its temporary files are gone then
		return nil
	})
	go func() {
		defer close(r.built)
		r.image, r.err = image.BuildReference(ctx, architecture())
	}()
}

// Reference brings the reference implementations' image to the nodes: built and loaded on a cluster that was made here, named by the
// user on one of the user's. nil is a cluster that has none.
func (l *Lab) Reference(ctx context.Context) (*Reference, error) {
	switch {
	case !l.options.Reference, l.options.Existing && l.options.ReferenceImage == "":
		return nil, nil
	case l.options.Existing:
		return namedReference(l.options.ReferenceImage, l.options.ReferenceAddresses)
	}
	r := l.reference
	select {
	case <-r.built:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if r.err != nil {
		return nil, r.err
	}
	r.load.Do(func() { r.failed = l.loadReference(ctx, r.image) })
	if r.failed != nil {
		return nil, r.failed
	}
	return &Reference{Image: r.image.Ref(), Addresses: l.Cluster.SpareAddresses()}, nil
}

// namedReference is what the user's flags name.
func namedReference(image, addresses string) (*Reference, error) {
	r := &Reference{Image: image}
	for text := range strings.SplitSeq(addresses, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("-reference-addresses %s: %w", text, err)
		}
		r.Addresses = append(r.Addresses, prefix)
	}
	if len(r.Addresses) == 0 {
		return nil, errors.New("-reference needs -reference-addresses, a part of the nodes' network that is free for the run")
	}
	return r, nil
}

func (l *Lab) loadReference(ctx context.Context, i *image.Image) error {
	start := time.Now()
	dir, err := os.MkdirTemp("", l.options.Run.Name("reference")+"-")
	if err != nil {
		return fmt.Errorf("making a folder for the reference implementations' image: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	archive := filepath.Join(dir, "reference.tar")
	if err := i.Save(archive); err != nil {
		return err
	}
	if err := l.Cluster.LoadImage(ctx, i.Ref(), archive); err != nil {
		return err
	}
	l.options.Log.Say("reference implementations loaded into every node (%.1fs)", time.Since(start).Seconds())
	return nil
}
