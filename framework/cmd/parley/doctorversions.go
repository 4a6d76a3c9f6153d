package main

import (
	"slices"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// firstOf are the first versions of those that are asked for: each of several gets a cluster and an image of its own.
func firstOf(v nodeimage.Versions) nodeimage.Versions {
	v.Kubernetes, _, _ = strings.Cut(v.Kubernetes, ",")
	v.Containerd, _, _ = strings.Cut(v.Containerd, ",")
	return v
}

// built are the versions of the image that a run would build, or has built; none where it would use another image.
func (s seen) built() nodeimage.Versions {
	if s.choice == nil || s.choice.Containerd == "" {
		return nodeimage.Versions{}
	}
	v, err := s.versions.Resolve()
	if err != nil { // then there is no choice either
		return nodeimage.Versions{}
	}
	if s.runtime != "" && !slices.Contains(strings.Split(s.runtime, ","), cluster.DefaultRuntime) {
		v.Containerd = ""
	}
	return v
}

// apart says why what is asked for can't be had together; "" where it can.
func apart(v nodeimage.Versions, runtime, handler string) string {
	asked := map[string]string{"kubernetes": v.Kubernetes, "containerd": v.Containerd, "runtime": runtime, "handler": handler}
	columns, err := axis.Columns(axis.All(), asked, "")
	if err != nil {
		return err.Error()
	}
	for _, c := range columns {
		if why := c.Lacks(axis.Host{}); why != "" { // of the host nothing is said here
			return why
		}
	}
	return ""
}

// versionOptions are the values of an axis of versions. Each can be built; used is that of a run.
func versionOptions(a axis.Axis, asked, used string) (all []option) {
	for _, v := range a.Values {
		o := option{Name: v.Given(), Use: v.Given() == used, There: true}
		switch {
		case o.Use && asked != "":
			o.Why = "asked for by -" + a.Flag
		case o.Use:
			o.Why = "what the offline image has unless -" + a.Flag + " says otherwise"
		default:
			o.Why = "for a run with -" + a.Flag + " " + o.Name
		}
		all = append(all, o)
	}
	return all
}
