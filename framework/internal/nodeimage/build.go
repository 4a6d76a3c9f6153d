package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/parley-k8s/parley/framework/internal/engine"
)

// buildTimeout bounds a whole build, and the wait for another one: a cold one takes 10 to 15 minutes on two cores.
const buildTimeout = time.Hour

// builder is one build.
type builder struct {
	versions  Versions // of a node image, resolved
	cache     *cache
	dir       string // scratch
	goVersion string
	progress  func(Step)
}

// parts are what the image is put together from: folders of binaries by component, and the Debian base's.
type parts struct {
	bin  map[string]string
	base string
}

// Build makes the offline node image with these versions in the engine's own store, or finds it there, and returns its
// name. cached says that nothing had to be made. Two builds at once don't collide: the second waits, and takes the first's.
// A build that is interrupted leaves no image; what components it had made stay in the cache.
func Build(ctx context.Context, e *engine.Engine, v Versions, progress func(Step)) (ref string, cached bool, err error) {
	if v, err = v.Resolve(); err != nil {
		return "", false, err
	}
	hash, err := Hash(v)
	if err != nil {
		return "", false, err
	}
	ref = Repository + ":" + hash
	if present(ctx, e, ref) {
		markUsed(hash)
		return ref, true, nil
	}
	if err := canBuild(); err != nil {
		return "", false, err
	}
	built := false
	err = withBuildLock(ctx, progress, func(ctx context.Context, b *builder) error {
		if present(ctx, e, ref) {
			return nil
		}
		built = true
		b.versions = v
		if err := b.build(ctx, e, ref); err != nil {
			return fmt.Errorf("building the node image: %w", err)
		}
		markUsed(hash)
		b.cache.pruneImages(ctx, e)
		return nil
	})
	return ref, !built && err == nil, err
}

// withBuildLock runs do with a folder of its own while no other process builds, and removes the folder afterwards.
func withBuildLock(ctx context.Context, progress func(Step), do func(context.Context, *builder) error) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, buildTimeout, fmt.Errorf("not built within %s", buildTimeout))
	defer cancel()
	c, err := openCache()
	if err != nil {
		return err
	}
	unlock, err := c.lock(ctx, func() { progress(Step{Component: "waiting for another run that builds"}) })
	if err != nil {
		return err
	}
	defer unlock()
	b := &builder{cache: c, progress: progress}
	if b.goVersion, err = goVersion(); err != nil {
		return err
	}
	if b.dir, err = c.scratch(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := do(ctx, b); err != nil {
		return err
	}
	c.prune(time.Now())
	return nil
}

// build runs the steps in order.
func (b *builder) build(ctx context.Context, e *engine.Engine, ref string) error {
	p := parts{bin: map[string]string{}}
	var archive, store string
	// The Debian base waits for the disk and the network, the compilers for the processor: so the base is begun at
	// once beside them, and waited for after them. Where it fails, they end too.
	ctx, cancel := context.WithCancelCause(ctx)
	debian := &step{component: "Debian " + suite}
	made := make(chan struct{})
	go func() {
		defer close(made)
		var err error
		if p.base, err = b.base(ctx, debian); err != nil {
			cancel(fmt.Errorf("%s: %w", debian.component, err))
		}
	}()
	defer func() {
		cancel(nil)
		<-made
	}()
	debian.run = func(*step) error {
		<-made
		return context.Cause(ctx)
	}

	var steps []*step
	for _, c := range b.versions.components() {
		title, err := c.title()
		if err != nil {
			return err
		}
		steps = append(steps, &step{component: title, run: func(s *step) (err error) {
			p.bin[c.name], err = b.binaries(ctx, c, s)
			return err
		}})
	}
	steps = append(steps,
		&step{component: "pause", run: func(s *step) (err error) {
			p.bin["pause"], err = b.pause(ctx, s)
			return err
		}},
		debian,
		&step{component: "component images", run: func(*step) (err error) {
			if archive, err = b.componentImages(ctx, p); err != nil {
				return err
			}
			store, err = b.store(ctx, p, archive)
			return err
		}},
		&step{component: "node image", run: func(s *step) error {
			img, err := b.nodeImage(ctx, p, store)
			if err != nil {
				return err
			}
			return b.load(ctx, e, ref, img, s)
		}},
	)
	return b.inOrder(ctx, steps)
}

// inOrder runs steps one after the other.
func (b *builder) inOrder(ctx context.Context, steps []*step) error {
	for i, s := range steps {
		s.place(i+1, len(steps))
		if err := s.do(b.progress); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause // what this step's error only follows from
			}
			return fmt.Errorf("%s: %w", s.component, err)
		}
	}
	return nil
}

// load puts an image into the engine's store.
func (b *builder) load(ctx context.Context, e *engine.Engine, ref string, img v1.Image, s *step) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "node.tar")
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		return fmt.Errorf("writing the node image: %w", err)
	}
	s.detail("loading it into " + e.Name)
	args := []string{"load", "-i", file}
	if e.Name == "podman" && !e.Remote {
		// Its load unpacks the whole archive into /var/tmp first, to see whether it is of another kind.
		args = []string{"pull", "docker-archive:" + file}
	}
	load := e.Command(ctx, args...)
	load.Env = append(load.Env, "TMPDIR="+b.dir) // podman would leave layers in /var/tmp when it is killed
	_, err = command(ctx, load, false, nil)
	return err
}

// folder makes a folder of the build.
func (b *builder) folder(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("making a folder for the build: %w", err)
	}
	return dir, nil
}
