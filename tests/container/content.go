package container

import (
	"context"
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
)

const (
	// contentPath is where the volumes with content are mounted.
	contentPath = "/content"
	// changedWord is in what is changed.
	changedWord = "changed"
)

// Variants of a pod with content, of which the last container alone finds something else.
const (
	changedContent   = "changed content for one of the containers"
	otherModes       = "other modes of the files in one of the containers"
	changedVariables = "a changed variable in one of the containers"
	// writableElsewhere shows that it is the volume which keeps a container from writing.
	writableElsewhere = "the container's own file system, which it may write to, in place of the volume's directory"
)

// content is a volume, and what each container must find in it.
type content struct {
	protocol string
	volume   corev1.VolumeSource
	// instead takes the volume's place in the last container, by the fixture of the control.
	instead map[string]corev1.VolumeSource
	// variables are of every container.
	variables []corev1.EnvVar
	// files are the texts by path, environment those of variables. They may name what is known only of the running pod.
	files       func(*corev1.Pod) map[string]string
	environment func(*corev1.Pod) map[string]string
	modes       map[string]uint32 // permission bits by path
	owner       int               // UID of all files
	inMemory    bool              // on a tmpfs, of which the control is container/secret's
	more        func(context.Context, *requirement.End, *corev1.Pod) error
}

// arrives starts the pod with the volume and says whether every container finds what it must.
func arrives(ctx context.Context, env *requirement.Env, pod *corev1.Pod, c content) error {
	mountAll(pod, "content", c.volume, contentPath)
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Env = append(pod.Spec.Containers[i].Env, c.variables...)
	}
	last := &pod.Spec.Containers[len(pod.Spec.Containers)-1]
	if env.Fixture(changedVariables) {
		first := &last.Env[len(last.Env)-len(c.variables)]
		*first = corev1.EnvVar{Name: first.Name, Value: changedWord}
	}
	if env.Variant != nil {
		if other, ok := c.instead[env.Variant.Fixture]; ok {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "instead", VolumeSource: other})
			last.VolumeMounts[len(last.VolumeMounts)-1].Name = "instead"
		}
	}
	started, err := env.Start(ctx, pod)
	if err != nil {
		return err
	}
	for _, container := range pod.Spec.Containers {
		if err := c.found(ctx, env, started.Ends[container.Name], started.Pod); err != nil {
			return err
		}
	}
	return nil
}

func (c content) found(ctx context.Context, env *requirement.Env, end *requirement.End, pod *corev1.Pod) error {
	fail := func(reason requirement.Reason, at, expected, observed string) error {
		return &requirement.Failure{Reason: reason, From: end, Target: at, Protocol: c.protocol, Expected: expected, Observed: observed,
			Again: fmt.Sprintf("kubectl get pod -n %s %s -o yaml, and stat %s in its containers", end.Namespace, end.Pod, at)}
	}
	for name, text := range c.files(pod) {
		at := path.Join(contentPath, name)
		got, err := file(ctx, end, wire.File{Do: "read", Path: at})
		if err != nil {
			return err
		}
		switch {
		case !got.Ok():
			return fail(requirement.NotShared, at, "a file", got.Errno.String())
		case string(got.Data) != text:
			return fail(requirement.Broken, at, fmt.Sprintf("%.60q", text), fmt.Sprintf("%.60q", got.Data))
		case got.Mode&0o777 != c.modes[name]:
			return fail(requirement.WrongSetting, at, fmt.Sprintf("mode %04o", c.modes[name]), fmt.Sprintf("mode %04o", got.Mode&0o777))
		case got.UID != c.owner:
			return fail(requirement.WrongSetting, at, fmt.Sprintf("UID %d to own it", c.owner), fmt.Sprintf("UID %d", got.UID))
		case c.inMemory && !inMemory(env, end, at, got.FSType):
			return fail(requirement.WrongSetting, at, "it on a tmpfs", got.FSType)
		}
		beside := at + ".new"
		if env.Fixture(writableElsewhere) {
			beside = "/run/parley" + newName()
		}
		wrote, err := file(ctx, end, wire.File{Do: "write", Path: beside})
		if err != nil {
			return err
		}
		if wrote.Ok() {
			return fail(requirement.WrongSetting, at, "a volume that cannot be written", "a file made at "+beside)
		}
	}
	if c.more != nil {
		if err := c.more(ctx, end, pod); err != nil {
			return err
		}
	}
	if c.environment == nil {
		return nil
	}
	environ, err := file(ctx, end, wire.File{Do: "read", Path: "/proc/self/environ"})
	if err != nil {
		return err
	}
	has := map[string]string{}
	for _, variable := range strings.Split(string(environ.Data), "\x00") {
		name, value, _ := strings.Cut(variable, "=")
		has[name] = value
	}
	for name, value := range c.environment(pod) {
		if has[name] != value {
			return fail(requirement.Broken, "variable "+name, fmt.Sprintf("%.60q", value), fmt.Sprintf("%.60q", has[name]))
		}
	}
	return nil
}

// inOne is a control by a fixture that changes one thing.
func inOne(fixture string, red ...requirement.Reason) requirement.Control {
	return requirement.Control{Says: fixture, Variant: &requirement.Variant{Fixture: fixture}, Red: red}
}

// changed is the control of all rows about content. What is not where it was asked for is found by the same look as what is there and
// is another; of the files, as of the variables, all are compared in the same way, so one that is changed stands for each.
func changed() requirement.Control { return inOne(changedContent, requirement.Broken) }

// changedVariable is for the rows that promise variables besides files.
func changedVariable() requirement.Control { return inOne(changedVariables, requirement.Broken) }

// asAskedFor are for the rows that promise the modes of files and that the volume is not to be written.
func asAskedFor() []requirement.Control {
	return []requirement.Control{inOne(otherModes, requirement.WrongSetting), inOne(writableElsewhere, requirement.WrongSetting), changedVariable()}
}

// always is for content that is known before the pod is.
func always(texts map[string]string) func(*corev1.Pod) map[string]string {
	return func(*corev1.Pod) map[string]string { return texts }
}

func twoContainers(env *requirement.Env) *corev1.Pod {
	return env.NewPod(nodeOfSiblings(env), world.Container("a"), world.Container("b"))
}
