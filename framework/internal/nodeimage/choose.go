package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/parley-k8s/parley/framework/internal/engine"
)

// Where a node image is from.
const (
	FromRegistry = "registry"
	FromPresent  = "present" // in the engine's store
	FromCache    = "built offline (cached)"
	FromBuild    = "built offline"
)

// Choice is the node image of a run, and why it is that one.
type Choice struct {
	Ref        string `json:"ref"`
	From       string `json:"from"`
	Kubernetes string `json:"kubernetes"` // such as v1.36.3; "" where the image's name does not say
	Containerd string `json:"containerd"` // such as v2.4.2; "" for an image that is not built here
	Why        string `json:"why"`
	Offline    bool   `json:"offline"` // built here: it has no CNI, no storage driver, and needs no registry
}

// probeTimeout is how long a registry may take to answer: a missing one mostly says no at once, by DNS.
const probeTimeout = 15 * time.Second

// Choose returns the node image to use. One that the user named is taken as it is, and has versions of its own. Where
// versions are asked for it is the offline build with them; else kind's own default where the engine has it or a registry
// answers; else the offline build with the default versions, which is made where it is not there yet. progress is told
// of the build only.
func Choose(ctx context.Context, e *engine.Engine, named string, v Versions, progress func(Step)) (Choice, error) {
	c, why, err := choose(ctx, e, named, v)
	if err != nil || c.Ref != "" {
		return c, err
	}
	ref, cached, err := Build(ctx, e, v, progress)
	if ctx.Err() != nil {
		return Choice{}, err
	}
	if err != nil {
		return Choice{}, v.buildError(why, err)
	}
	c, err = v.offline(ref, why)
	if cached {
		c.From = FromCache
	}
	return c, err
}

// Plan says what Choose would choose, without building: an offline image that is not there yet has the source "built
// offline".
func Plan(ctx context.Context, e *engine.Engine, named string, v Versions) (Choice, error) {
	c, why, err := choose(ctx, e, named, v)
	if err != nil || c.Ref != "" {
		return c, err
	}
	hash, err := Hash(v)
	if err != nil {
		return Choice{}, err
	}
	if c, err = v.offline(Repository+":"+hash, why); err != nil {
		return Choice{}, err
	}
	if present(ctx, e, c.Ref) {
		c.From = FromCache
		return c, nil
	}
	if err := canBuild(); err != nil {
		return Choice{}, v.buildError(why, err)
	}
	return c, nil
}

// offline is the choice of the offline image with these versions.
func (v Versions) offline(ref, why string) (Choice, error) {
	of, err := v.Resolve()
	if err != nil {
		return Choice{}, err
	}
	c := Choice{Ref: ref, From: FromBuild, Why: why, Offline: true}
	if c.Kubernetes, err = of.versionOf("kubernetes"); err != nil {
		return Choice{}, err
	}
	c.Containerd, err = of.versionOf("containerd")
	return c, err
}

// buildError says that there is no image with these versions, and what else can be done.
func (v Versions) buildError(why string, err error) error {
	if v == (Versions{}) {
		return fmt.Errorf("no registry gives kind's node image (%s), and it can't be built offline: %w", why, err)
	}
	return fmt.Errorf("a node image with %s can't be built here: %w; name one that was built elsewhere with -node-image instead", v, err)
}

// ErrNamedVersions says that both an image and versions were asked for.
var ErrNamedVersions = errors.New("-node-image names an image, whose versions are its own: leave out -kubernetes, -containerd and versions in -matrix")

// choose tries all but the offline build; an empty choice comes with why there is none.
func choose(ctx context.Context, e *engine.Engine, named string, v Versions) (c Choice, why string, err error) {
	switch asked := v; {
	case named != "" && v != (Versions{}):
		return Choice{}, "", ErrNamedVersions
	case named == "" && v != (Versions{}):
		v, err = v.Resolve()
		return Choice{}, v.reason(asked), err
	}
	if named != "" {
		c := Choice{Ref: named, From: FromRegistry, Kubernetes: versionOf(named), Why: "named by the user", Offline: strings.HasPrefix(named, Repository+":")}
		if present(ctx, e, named) {
			c.From = FromPresent
		}
		return c, "", nil
	}
	for _, ref := range spellings(defaults.Image) {
		if present(ctx, e, ref) {
			return Choice{Ref: ref, From: FromPresent, Kubernetes: versionOf(defaults.Image), Why: "kind's default, which " + e.Name + " has"}, "", nil
		}
	}
	probe, cancel := context.WithTimeoutCause(ctx, probeTimeout, fmt.Errorf("no answer within %s", probeTimeout))
	defer cancel()
	// Asked through the engine, which knows the host's mirrors, proxies and credentials.
	_, err = e.Output(probe, "manifest", "inspect", "docker.io/"+spellings(defaults.Image)[0])
	if err == nil {
		return Choice{Ref: defaults.Image, From: FromRegistry, Kubernetes: versionOf(defaults.Image), Why: "kind's default, which a registry gives"}, "", nil
	}
	if ctx.Err() != nil {
		return Choice{}, "", fmt.Errorf("asking a registry for kind's node image: %w", context.Cause(ctx))
	}
	return Choice{}, "no registry gives " + spellings(defaults.Image)[1] + ": " + reason(err), nil
}

// present says whether the engine has an image.
func present(ctx context.Context, e *engine.Engine, ref string) bool {
	_, err := e.Output(ctx, "image", "inspect", ref)
	return err == nil
}

// spellings are the names under which an engine may have an image: with the digest and without the tag, as podman
// wants it, and with the tag alone, as after a load from an archive.
func spellings(ref string) []string {
	tagged, digest, ok := strings.Cut(ref, "@")
	if !ok {
		return []string{ref, ref}
	}
	repository := tagged
	if i := strings.LastIndex(tagged, ":"); i > strings.LastIndex(tagged, "/") {
		repository = tagged[:i]
	}
	return []string{repository + "@" + digest, tagged}
}

var versionPattern = regexp.MustCompile(`:(v\d+\.\d+\.\d+[0-9A-Za-z.-]*)(?:@|$)`)

// versionOf reads a Kubernetes version from an image's tag; "" where it is none.
func versionOf(ref string) string {
	if m := versionPattern.FindStringSubmatch(ref); m != nil {
		return m[1]
	}
	return ""
}

// reason is the last part of an engine's error: what the registry, or the name server, said.
func reason(err error) string {
	text := strings.TrimSpace(err.Error())
	if i := strings.LastIndex(text, "; "); i >= 0 {
		text = text[i+2:]
	}
	if i := strings.Index(text, "dial tcp: "); i >= 0 {
		text = text[i+len("dial tcp: "):]
	}
	return strings.TrimPrefix(text, "Error: ")
}
