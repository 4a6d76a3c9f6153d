package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// axisOptions are the values of an axis, as it says that they are shown.
type axisOptions struct {
	Line    axis.DoctorLine
	Options []option
}

// option is one value of an axis of a cluster.
type option struct {
	Name string `json:"name"`
	Use  bool   `json:"use"` // a run uses it
	// There says that this host has what it takes.
	There bool   `json:"there"`
	Why   string `json:"why"`
}

// axisFlags declares the flags of the axes, with what their environment variables say.
func axisFlags(cmd *cobra.Command, axes []axis.Axis) *axis.Choices {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	choices := axis.Register(fs, axes)
	fs.VisitAll(func(f *flag.Flag) {
		f.DefValue = variable(f.Name)
		_ = f.Value.Set(f.DefValue) // any text is a value
	})
	cmd.Flags().AddGoFlagSet(fs)
	return choices
}

// MarshalJSON puts the axes, each a member by its own key, between the other members.
func (d diagnosis) MarshalJSON() ([]byte, error) {
	parts := []any{d.possibility}
	for _, a := range d.Axes {
		parts = append(parts, map[string][]option{a.Line.Key: a.Options})
	}
	var members [][]byte
	for _, part := range append(parts, d.findings) {
		var object bytes.Buffer
		if err := writeJSON(&object, part); err != nil {
			return nil, err
		}
		text := bytes.TrimSpace(object.Bytes())
		members = append(members, text[1:len(text)-1]) // without its braces
	}
	return slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}")), nil
}

// axes are the options of every axis, in the order in which they are shown, and why a run can't have what it is asked for; ""
// where it can.
func (s hostState) axes() (all []axisOptions, unfit string) {
	host := axis.HostOf(s.host, false)
	host.Unavailable = s.unavailable
	columns, err := s.asked.Columns("")
	for _, a := range s.asked.Axes() {
		options := optionsOf(a, s.asked.Asked(a), s.used(a, axis.Specs(columns)), host)
		if unfit == "" && a.Doctor.InImage == nil { // of an image that can't be had, its choice says why
			unfit = s.unfit(a, options)
		}
		all = append(all, axisOptions{a.Doctor, options})
	}
	slices.SortStableFunc(all, func(a, b axisOptions) int {
		switch {
		case a.Line.First == b.Line.First:
			return 0
		case a.Line.First:
			return -1
		}
		return 1
	})
	return all, cmp.Or(unfit, conflict(columns, err))
}

// used are the values of the axis that a run uses, in the form that the flag takes: what it is asked for, else the first; of values
// that a node image has, that of the image.
func (s hostState) used(a axis.Axis, clusters []axis.Spec) (used []string) {
	asked := s.asked.Asked(a)
	switch {
	case a.Doctor.InImage != nil:
		return []string{a.Doctor.InImage(s.built(clusters), clusters)}
	case len(asked) == 0:
		return []string{a.Values[0].Given()}
	}
	for _, word := range asked {
		if v, ok := a.OfFlag(word); ok {
			used = append(used, v.Given())
		}
	}
	return used
}

// built are the versions of the image that a run would build, or has built; none where it would use another image.
func (s hostState) built(clusters []axis.Spec) nodeimage.Versions {
	if s.choice == nil || s.choice.Containerd == "" || len(clusters) == 0 {
		return nodeimage.Versions{}
	}
	v, err := clusters[0].Versions.Resolve()
	if err != nil { // then there is no choice either
		return nodeimage.Versions{}
	}
	return v
}

// optionsOf are the values of an axis, each with why it is not there, or why it is used.
func optionsOf(a axis.Axis, asked, used []string, host axis.Host) (all []option) {
	usual := "what a cluster is made with unless -"
	if a.Doctor.InImage != nil {
		usual = "what the offline image has unless -"
	}
	for _, v := range a.Values {
		o := option{Name: v.Given(), Use: slices.Contains(used, v.Given()), Why: v.Unavailable(host)}
		o.There = o.Why == ""
		switch {
		case !o.There:
		case o.Use && len(asked) > 0:
			o.Why = "asked for by -" + a.Flag
		case o.Use:
			o.Why = usual + a.Flag + " says otherwise"
		default:
			o.Why = "for a run with -" + a.Flag + " " + o.Name
		}
		all = append(all, o)
	}
	return all
}

// unfit says why a run can't have the values of the axis that it is asked for; "" where it can.
func (s hostState) unfit(a axis.Axis, options []option) string {
	var names []string
	for _, o := range options {
		names = append(names, o.Name)
		if o.Use && !o.There && !s.remote {
			return fmt.Sprintf("-%s %s: %s", a.Flag, o.Name, o.Why)
		}
	}
	asked := s.asked.Asked(a)
	if slices.ContainsFunc(asked, func(word string) bool { _, ok := a.OfFlag(word); return !ok }) {
		return fmt.Sprintf("-%s %s: choose of %s", a.Flag, strings.Join(asked, ","), strings.Join(names, ", "))
	}
	return ""
}

// conflict says why what is asked for can't be had together, or, where err says so, at all; "" where it can.
func conflict(columns []axis.Column, err error) string {
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
