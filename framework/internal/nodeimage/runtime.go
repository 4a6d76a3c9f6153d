package nodeimage

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	goruntime "runtime"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/engine"
	"github.com/parley-k8s/parley/manifests"
)

// runtimeRecipe is the code that puts another runtime on a node image: it counts for the identity of those images, and not
// for that of the image below. What it has in common with the making of that is in recipe and debsRecipe, which count too.
//
//go:embed bundle.go nodestore.go runtime.go runtimebuild.go runtimelayer.go runtimestore.go sums.go unpack.go ocilimits/main.go
var runtimeRecipe embed.FS

// RuntimeLabel is the label of a node image that says which runtime it has in containerd's place. An image that the user
// names and that has it is taken as it is.
const RuntimeLabel = "parley.dev/runtime"

// runtimeImage is a node image with another runtime in containerd's place.
type runtimeImage struct {
	runtime cluster.Runtime
	bundle  Bundle
	base    string // the image that the runtime goes on, by the name that the engine has it by
	tag     string // the runtime's name and the hash of all that goes in
}

// ref is the image's name.
func (i runtimeImage) ref() string { return Repository + ":" + i.tag }

// choice is the choice of the image, where base is that of the image below.
func (i runtimeImage) choice(base Choice, from string) Choice {
	base.Why = fmt.Sprintf("%s of %s, vouched for by %s, on %s (%s)", i.runtime.Layer.Bundle.Name, i.bundle.File, i.bundle.By, base.Ref, base.Why)
	base.Ref, base.From, base.Containerd = i.ref(), from, ""
	return base
}

// OnRuntime returns the node image with the runtime in containerd's place: base itself where it has it, else one that is made
// of base and the runtime's bundle, or was. bundles is what the user named for these, "" for the official releases.
func OnRuntime(ctx context.Context, e *engine.Engine, base Choice, rt cluster.Runtime, bundles string, progress func(Step)) (Choice, error) {
	if rt.Layer == nil || hasRuntimeLabel(ctx, e, base.Ref, rt) {
		return base, nil
	}
	bundle, err := FindBundle(ctx, rt.Layer.Bundle, bundles)
	if err != nil {
		return Choice{}, err
	}
	if err := canBuild(); err != nil {
		return Choice{}, fmt.Errorf("a node image with %s: %w", rt.Product, err)
	}
	img := runtimeImage{runtime: rt, bundle: bundle}
	if img.base, err = ensurePulled(ctx, e, base.Ref); err != nil {
		return Choice{}, err
	}
	if img.tag, err = runtimeTag(ctx, e, img); err != nil {
		return Choice{}, err
	}
	if present(ctx, e, img.ref()) {
		markUsed(img.tag)
		return img.choice(base, FromCache), nil
	}
	from := FromBuild
	err = withBuildLock(ctx, progress, func(ctx context.Context, b *builder) error {
		if present(ctx, e, img.ref()) {
			from = FromCache
			return nil
		}
		if err := b.buildRuntime(ctx, e, img); err != nil {
			return fmt.Errorf("making a node image with %s: %w", rt.Product, err)
		}
		markUsed(img.tag)
		b.cache.pruneImages(ctx, e)
		return nil
	})
	return img.choice(base, from), err
}

// PlanRuntime says what OnRuntime would return, without building. An image that can't be known yet, since the one below
// is not there, has that one's name.
func PlanRuntime(ctx context.Context, e *engine.Engine, base Choice, rt cluster.Runtime, bundles string) (Choice, error) {
	if rt.Layer == nil || hasRuntimeLabel(ctx, e, base.Ref, rt) {
		return base, nil
	}
	bundle, err := FindBundle(ctx, rt.Layer.Bundle, bundles)
	if err != nil {
		return Choice{}, err
	}
	for _, ref := range spellings(base.Ref) {
		if !present(ctx, e, ref) {
			continue
		}
		img := runtimeImage{runtime: rt, bundle: bundle, base: ref}
		if img.tag, err = runtimeTag(ctx, e, img); err != nil {
			return Choice{}, err
		}
		if present(ctx, e, img.ref()) {
			return img.choice(base, FromCache), nil
		}
		return img.choice(base, FromBuild), canBuild()
	}
	base.From, base.Containerd = FromBuild, ""
	return base, canBuild()
}

// hasRuntimeLabel says whether the engine has the image and the image says that it has the runtime.
func hasRuntimeLabel(ctx context.Context, e *engine.Engine, ref string, rt cluster.Runtime) bool {
	for _, r := range spellings(ref) {
		out, err := e.Output(ctx, "image", "inspect", "--format", `{{index .Config.Labels "`+RuntimeLabel+`"}}`, r)
		if err == nil && strings.TrimSpace(out) == rt.Name {
			return true
		}
	}
	return false
}

// ensurePulled pulls an image that the engine does not have, and returns the name that the engine has it by.
func ensurePulled(ctx context.Context, e *engine.Engine, ref string) (string, error) {
	for _, r := range spellings(ref) {
		if present(ctx, e, r) {
			return r, nil
		}
	}
	pulled := spellings(ref)[0]
	if _, err := e.Output(ctx, "pull", pulled); err != nil {
		return "", fmt.Errorf("pulling the node image that the runtime goes on: %w", err)
	}
	return pulled, nil
}

// runtimeTag is the tag of the image with the runtime: the runtime's name and the hash of all that goes in, which are the
// image below, the bundle's checksum, the runtime's declaration and files, and the code that puts them together.
func runtimeTag(ctx context.Context, e *engine.Engine, img runtimeImage) (string, error) {
	id, err := e.Output(ctx, "image", "inspect", "--format", "{{.Id}}", img.base)
	if err != nil {
		return "", fmt.Errorf("asking for the node image that the runtime goes on: %w", err)
	}
	gover, err := goVersion()
	if err != nil {
		return "", err
	}
	return runtimeHash(img.runtime, strings.TrimSpace(id), img.bundle.Sum, gover)
}

func runtimeHash(rt cluster.Runtime, below, sum, gover string) (string, error) {
	files, err := fs.Sub(manifests.Runtimes, "runtimes/"+rt.Name)
	if err != nil {
		return "", err
	}
	facts := []string{rt.Name, below, sum, fmt.Sprintf("%+v", *rt.Layer), goruntime.GOARCH, gover}
	hash, err := hashOf(facts, files, recipe, debsRecipe, runtimeRecipe)
	return rt.Name + "-" + hash, err
}

// NotAsked is Lacks without asking any address: for a runtime whose bundle is neither named nor fetched it says where that
// would come from.
func NotAsked(rt cluster.Runtime, bundles string) string {
	if rt.Layer == nil {
		return ""
	}
	if bundles != "" {
		if _, ok, err := namedBundle(rt.Layer.Bundle, bundles); err != nil {
			return err.Error()
		} else if ok {
			return ""
		}
	}
	if _, ok := fetchedBundle(rt.Layer.Bundle); ok {
		return ""
	}
	return fmt.Sprintf("not looked for: its bundle comes from %s, or from the folder that %s names; doctor --runtime %s asks", release(rt.Layer.Bundle).URL, BundlesVariable, rt.Name)
}

// Lacks says why a cluster with the runtime can't be had here as far as its bundle counts; "" where it can.
func Lacks(ctx context.Context, rt cluster.Runtime, bundles string) string {
	if rt.Layer == nil {
		return ""
	}
	if _, err := FindBundle(ctx, rt.Layer.Bundle, bundles); err != nil {
		return err.Error()
	}
	return ""
}
