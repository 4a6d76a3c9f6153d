package axis

import (
	"context"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegister(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	choices := Register(fs, All())
	require.NoError(t, fs.Parse([]string{"-family", "dual, ipv4", "-runtime-bundles", "x.tar", "-handler=crun"}))
	require.Equal(t, []string{"dual", "ipv4"}, choices.Asked(Family()))
	require.Empty(t, choices.Asked(ProxyMode()))
	columns, err := choices.Columns("")
	require.NoError(t, err)
	require.Len(t, columns, 2)
	require.Equal(t, "dual+crun", columns[0].Name())
	require.Equal(t, "x.tar", columns[1].Spec().Bundles)
	require.Equal(t, Family().Help(), fs.Lookup("family").Usage)
}

func TestChoicesOfNothing(t *testing.T) {
	var none *Choices
	columns, err := none.Columns("crun")
	require.NoError(t, err)
	require.Equal(t, "crun", columns[0].Spec().Handler)
	none, err = none.Existing()
	require.NoError(t, err)
	columns, err = none.Columns("")
	require.NoError(t, err)
	require.Equal(t, Spec{}, columns[0].Spec())
}

func TestExisting(t *testing.T) {
	of := func(given map[string]string) ([]Column, error) {
		choices, err := Choose(All(), given).Existing()
		if err != nil {
			return nil, err
		}
		return choices.Columns("")
	}
	columns, err := of(map[string]string{"handler": "kata,gvisor.eu, kata"})
	require.NoError(t, err)
	require.Len(t, columns, 2)
	require.Equal(t, "gvisor.eu", columns[1].Spec().Handler)
	_, err = of(map[string]string{"handler": "../x"})
	require.ErrorContains(t, err, "-handler ../x is no name of a RuntimeClass")
	_, err = of(map[string]string{"family": "kata"})
	require.ErrorContains(t, err, "-family kata: the address families are", "of another axis a cluster that exists has no values of its own")
}

func TestProbe(t *testing.T) {
	toy := colours()
	choices := Choose(append(All(), toy), map[string]string{"colour-folder": "f"})
	columns, err := choices.Columns("green")
	require.NoError(t, err)
	found := choices.Probe(t.Context(), columns)
	require.Equal(t, "not found in f", found["green"])
	require.NotContains(t, found, "red")
	require.Contains(t, columns[0].Lacks(Host{Unavailable: found}), "green: not found in f")

	columns, err = choices.Columns("red")
	require.NoError(t, err)
	require.Equal(t, "not looked for", choices.Probe(t.Context(), columns)["green"])
}

// colours is an axis that no other code knows of.
func colours() Axis {
	return Axis{
		Name: "colour", Flag: "colour", Set: "colours", Chooses: "colour of a cluster that is made",
		Values: []Value{
			{Word: "red"},
			{Word: "green", Probe: func(_ context.Context, s Spec, outside bool) string {
				if !outside {
					return "not looked for"
				}
				return "not found in " + s.Bundles
			}},
			{Word: "blue", Lacks: kernel("paint"), Conflicts: func(s Spec) string {
				if s.Family == "dual" {
					return "two families want two colours"
				}
				return ""
			}},
		},
		Apply:    func(s *Spec, colour string) { s.Handler = "painted-" + colour },
		Settings: []Setting{{Flag: "colour-folder", Help: "where colours are", Apply: func(s *Spec, folder string) { s.Bundles = folder }}},
		Doctor:   DoctorLine{Key: "colours", Label: "colours"},
	}
}

// A further axis is one more entry of the list of axes: its flags, their help, its words in a matrix, what it refuses and what it
// changes in a cluster's specification need no other line. (That `parley doctor` shows it is tested there.)
func TestAFurtherAxis(t *testing.T) {
	axes := append(All(), colours())
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	choices := Register(fs, axes)
	require.Equal(t, "colour of a cluster that is made: red, green or blue; of several, separated by commas, each gets a cluster", fs.Lookup("colour").Usage)
	require.Equal(t, "where colours are", fs.Lookup("colour-folder").Usage)
	require.Subset(t, OfMadeClusters(axes), []string{"colour", "colour-folder"})
	require.Contains(t, Sets(axes), "colours")

	require.NoError(t, fs.Parse([]string{"-colour", "red,blue"}))
	columns, err := choices.Columns("dual iptables")
	require.NoError(t, err)
	var names []string
	for _, c := range columns {
		names = append(names, c.Name())
	}
	require.Equal(t, "dual+red dual+blue iptables+red iptables+blue", strings.Join(names, " "))
	require.Equal(t, "painted-blue", columns[1].Spec().Handler)
	require.Equal(t, "blue", columns[1].Flags()["colour"], "a process of its own is started with it")
	require.Equal(t, "blue: two families want two colours", columns[1].Lacks(Host{}))
	require.Empty(t, columns[3].Lacks(Host{}))
	require.Equal(t, "blue: this host's kernel shows no paint (dry)", columns[3].Lacks(Host{Lacking: map[string]string{"paint": "dry"}}))

	columns, err = Choose(axes, nil).Columns("colours")
	require.NoError(t, err)
	require.Len(t, Groups(columns), 3, "each gets a cluster")
	_, err = Choose(axes, map[string]string{"colour": "grey"}).Columns("")
	require.EqualError(t, err, "-colour grey: the colours are red, green and blue")
}
