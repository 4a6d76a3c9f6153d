package axis

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/cluster"
	"github.com/parley-k8s/parley/framework/internal/handler"
	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// What an axis must say of itself; nothing else says it.
func TestAxesAreComplete(t *testing.T) {
	flags, keys, labels := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, a := range All() {
		for _, said := range []string{a.Name, a.Flag, a.Chooses, a.Set, a.Doctor.Key, a.Doctor.Label} {
			require.NotEmpty(t, said, a.Name)
		}
		require.False(t, flags[a.Flag] || keys[a.Doctor.Key] || labels[a.Doctor.Label], a.Name)
		flags[a.Flag], keys[a.Doctor.Key], labels[a.Doctor.Label] = true, true, true
		require.NotEmpty(t, a.Values)
		for _, v := range a.Values {
			var s Spec
			a.Apply(&s, v.Given())
			require.NotEqual(t, Spec{}, s, "%s changes nothing", v.Word)
		}
		for _, setting := range a.Settings {
			var s Spec
			setting.Apply(&s, "x")
			require.NotEqual(t, Spec{}, s, setting.Flag)
			require.NotEmpty(t, setting.Help)
			require.False(t, flags[setting.Flag])
			flags[setting.Flag] = true
		}
	}
}

// The values are what clusters can be made with, in the order of those who know.
func TestValuesAreWhatThereIs(t *testing.T) {
	var handlers, runtimes []string
	for _, h := range handler.All() {
		handlers = append(handlers, h.Name)
	}
	for _, r := range cluster.Runtimes() {
		runtimes = append(runtimes, r.Name)
	}
	require.Equal(t, handlers, Handler().Words())
	require.Equal(t, runtimes, Runtime().Words())
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		axis Axis
		want string
	}{
		{Family(), "address families of a cluster that is made: ipv4, ipv6 or dual; of several, separated by commas, each gets a cluster"},
		{ProxyMode(), "mode of kube-proxy in a cluster that is made: iptables, nftables or ipvs; of several, separated by commas, each gets a cluster"},
		{Kubernetes(), "version of Kubernetes of a cluster that is made: 1.36, 1.37, 1.35 or 1.34; of several, separated by commas, each gets a cluster"},
		{Runtime(), "container runtime of the nodes of a cluster that is made: containerd, crio or docker; of several, separated by commas, each gets a cluster"},
		{Handler(), "the OCI handler that is judged: runc, crun or runsc on a cluster that is made, the name of a RuntimeClass on one of yours; several, separated by commas, are judged one after the other on the same cluster"},
	} {
		require.Equal(t, c.want, c.axis.Help())
	}
	axes := []Axis{Family(), ProxyMode(), Runtime(), Handler()}
	require.Equal(t, "families, proxies, runtimes and handlers", Sets(axes))
	require.Equal(t, []string{"family", "proxy-mode", "runtime", "runtime-bundles"}, OfMadeClusters(axes))
}

func TestWordsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	shared := 0
	for _, a := range All() {
		if a.Shared {
			shared++
		}
		for _, word := range append(a.Words(), a.Set) {
			require.False(t, seen[word], "%s is there twice", word)
			require.Regexp(t, `^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`, word, "a folder's name, and no '+' in it")
			seen[word] = true
		}
	}
	require.LessOrEqual(t, shared, 1)
}

func TestColumns(t *testing.T) {
	for name, c := range map[string]struct {
		family, proxy, matrix  string
		kubernetes, containerd string
		want                   string // names; those that came of a set with a question mark
		says                   string
	}{
		"nothing":                       {want: "default"},
		"one value":                     {proxy: "nftables", want: "nftables"},
		"a list":                        {proxy: "iptables,nftables", want: "iptables nftables"},
		"a list with blanks":            {proxy: "iptables, nftables", want: "iptables nftables"},
		"the product of two":            {family: "ipv4,dual", proxy: "iptables,nftables", want: "ipv4+iptables ipv4+nftables dual+iptables dual+nftables"},
		"entries":                       {matrix: "iptables nftables ipv6 dual+nftables", want: "iptables nftables ipv6 dual+nftables"},
		"commas":                        {matrix: "iptables,nftables", want: "iptables nftables"},
		"the order of axes in a name":   {matrix: "nftables+dual", want: "dual+nftables"},
		"a set":                         {matrix: "proxies", want: "iptables? nftables? ipvs?"},
		"a set within an entry":         {matrix: "dual+proxies", want: "dual+iptables? dual+nftables? dual+ipvs?"},
		"a set and one of it by name":   {matrix: "proxies ipvs", want: "iptables? nftables? ipvs"},
		"a flag below every entry":      {family: "dual", matrix: "iptables nftables", want: "dual+iptables dual+nftables"},
		"a flag's list times entries":   {family: "ipv4,ipv6", matrix: "iptables", want: "ipv4+iptables ipv6+iptables"},
		"each once":                     {matrix: "iptables iptables nftables+ipv6 ipv6+nftables", want: "iptables ipv6+nftables"},
		"a version":                     {kubernetes: "1.35", want: "kubernetes-1.35"},
		"a version by its word":         {kubernetes: "kubernetes-1.35", want: "kubernetes-1.35"},
		"a version twice":               {kubernetes: "1.35,kubernetes-1.35", want: "kubernetes-1.35"},
		"versions of two":               {kubernetes: "1.34,1.35", containerd: "2.4,1.7", want: "kubernetes-1.34+containerd-2.4 kubernetes-1.34+containerd-1.7 kubernetes-1.35+containerd-2.4 kubernetes-1.35+containerd-1.7"},
		"versions in a matrix":          {matrix: "containerd-2.1+kubernetes-1.34 kubernetes-1.37", want: "kubernetes-1.34+containerd-2.1 kubernetes-1.37"},
		"a set of versions":             {matrix: "versions", want: "kubernetes-1.36? kubernetes-1.37? kubernetes-1.35? kubernetes-1.34?"},
		"a version without its program": {matrix: "1.35", says: `-matrix 1.35: "1.35" is no value of an axis`},
		"no such version":               {kubernetes: "1.20", says: "-kubernetes 1.20: the Kubernetes versions are 1.36, 1.37, 1.35 and 1.34"},
		"no such value":                 {proxy: "userspace", says: "-proxy-mode userspace: the proxy modes are iptables, nftables and ipvs"},
		"a value of another axis":       {family: "nftables", says: "the address families are ipv4, ipv6 and dual"},
		"no such word":                  {matrix: "iptables nft", says: `-matrix nft: "nft" is no value of an axis: there are ipv4, ipv6, dual (families: all of these); iptables,`},
		"a dangling plus":               {matrix: "iptables+", says: `"" is no value`},
		"two of an axis":                {matrix: "iptables+nftables", says: "one of the proxy modes, and this names two"},
		"a set and one of its own":      {matrix: "proxies+ipvs", says: "one of the proxy modes"},
		"the same axis in flag and set": {proxy: "ipvs", matrix: "nftables", says: "name the proxy mode in one of them only"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := Choose(All(), map[string]string{"family": c.family, "proxy-mode": c.proxy, "kubernetes": c.kubernetes, "containerd": c.containerd})
			got, err := asked.Columns(c.matrix)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			var names []string
			for _, col := range got {
				n := col.Name()
				if !col.ByName {
					n += "?"
				}
				names = append(names, n)
			}
			require.Equal(t, c.want, strings.Join(names, " "))
		})
	}
}

func TestTooManyColumns(t *testing.T) {
	wide := Axis{Name: "letter", Flag: "l", Set: "letters"}
	for r := 'a'; r <= 'z'; r++ {
		wide.Values = append(wide.Values, Value{Word: string(r)})
	}
	_, err := Choose(append(All(), wide), nil).Columns("letters+families+proxies")
	require.ErrorContains(t, err, "more than 64 clusters")
}

func TestFlagsOfAColumn(t *testing.T) {
	got, err := Choose(All(), map[string]string{"kubernetes": "kubernetes-1.35"}).Columns("ipv6")
	require.NoError(t, err)
	require.Subset(t, got[0].Flags(), map[string]string{"family": "ipv6", "proxy-mode": "", "kubernetes": "1.35", "containerd": "", "runtime": "", "handler": ""})
	require.Len(t, got[0].Flags(), len(All()))
	require.Equal(t, []string{"ipv6", "kubernetes-1.35"}, got[0].Values())
}

func TestSpecOfAColumn(t *testing.T) {
	for matrix, want := range map[string]Spec{
		"":                             {},
		"dual+crun":                    {Options: cluster.Options{Family: "dual"}, Handler: "crun"},
		"ipv4+iptables":                {Options: cluster.Options{Family: "ipv4", ProxyMode: "iptables"}},
		"kubernetes-1.35+crio":         {Options: cluster.Options{Runtime: "crio"}, Versions: nodeimage.Versions{Kubernetes: "1.35"}},
		"ipvs+containerd-2.1":          {Options: cluster.Options{ProxyMode: "ipvs"}, Versions: nodeimage.Versions{Containerd: "2.1"}},
		"containerd+runsc+containerds": {Options: cluster.Options{Runtime: "containerd"}, Versions: nodeimage.Versions{Containerd: "2.4"}, Handler: "runsc"},
	} {
		want.Bundles = "a/folder"
		got, err := Choose(All(), map[string]string{"runtime-bundles": "a/folder"}).Columns(matrix)
		require.NoError(t, err)
		require.Equal(t, want, got[0].Spec(), matrix)
		require.Equal(t, want, Specs(got)[0])
	}
}

func TestValuesThatDontGoTogether(t *testing.T) {
	for matrix, want := range map[string]string{
		"containerd-1.7":                      "",
		"kubernetes-1.35+containerd-1.7":      "",
		"kubernetes-1.36+containerd-2.4":      "",
		"kubernetes-1.36+containerd-1.7":      "containerd-1.7: it does not go with Kubernetes 1.36: Kubernetes 1.35 is the last that supports containerd 1.x (https://",
		"dual+kubernetes-1.37+containerd-2.1": "containerd-2.1: it does not go with Kubernetes 1.37",
		"containerd-2.1+docker":               "containerd-2.1: it is a version of containerd, and the nodes' runtime would be docker",
		"crun":                                "",
		"containerd+runsc":                    "",
		"containerd-2.1+crun":                 "",
		"crio+runc":                           "",
		"crio+crun":                           "crun: it is set up in containerd, and the nodes' runtime would be crio",
		"docker+runsc":                        "runsc: it is set up in containerd, and the nodes' runtime would be docker",
	} {
		got, err := Choose(All(), nil).Columns(matrix)
		require.NoError(t, err)
		if want == "" {
			require.Empty(t, got[0].Lacks(Host{}), matrix)
		} else {
			require.Contains(t, got[0].Lacks(Host{}), want)
		}
	}
	require.Empty(t, containerdConflicts(Spec{Options: cluster.Options{Runtime: "containerd"}, Versions: nodeimage.Versions{Containerd: "2.4"}}))
	require.Equal(t, "it is a version of containerd, and the nodes' runtime would be crio",
		containerdConflicts(Spec{Options: cluster.Options{Runtime: "crio"}, Versions: nodeimage.Versions{Kubernetes: "1.36", Containerd: "2.4"}}))
}

func TestRuntimesThatLack(t *testing.T) {
	host := Host{Unavailable: map[string]string{"crio": "nothing names a bundle"}}
	for matrix, want := range map[string]string{"containerd": "", "docker": "", "crio": "crio: nothing names a bundle", "dual+crio": "crio: nothing names a bundle"} {
		got, err := Choose(All(), nil).Columns(matrix)
		require.NoError(t, err)
		require.Equal(t, want, got[0].Lacks(host), matrix)
	}
	got, err := Choose(All(), nil).Columns("runtimes")
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.False(t, got[1].ByName)
	got, err = Choose(All(), map[string]string{"runtime": "containerd,crio,docker"}).Columns("")
	require.NoError(t, err)
	require.True(t, got[1].ByName)
}

func TestLacks(t *testing.T) {
	bare := Host{Lacking: map[string]string{"ipvs": "no such family"}}
	for matrix, want := range map[string]string{
		"iptables":  "",
		"dual":      "",
		"ipvs":      "ipvs: this host's kernel shows no ipvs (no such family)",
		"ipv6+ipvs": "ipvs: this host's kernel shows no ipvs (no such family)",
	} {
		got, err := Choose(All(), nil).Columns(matrix)
		require.NoError(t, err)
		require.Equal(t, want, got[0].Lacks(bare))
		require.Empty(t, got[0].Lacks(Host{}))
	}
}

func TestGroups(t *testing.T) {
	for matrix, want := range map[string]struct{ names, handlers, families string }{
		"iptables nftables":      {"iptables nftables", "-; -", "-; -"},
		"handlers":               {"runc,crun,runsc", "runc,crun,runsc", "-"},
		"dual+handlers ipv4":     {"dual+runc,dual+crun,dual+runsc ipv4", "runc,crun,runsc; -", "dual; ipv4"},
		"runc dual+runc crun":    {"runc,crun dual+runc", "runc,crun; runc", "-; dual"},
		"nftables nftables+crun": {"nftables nftables+crun", "-; crun", "-; -"},
	} {
		t.Run(matrix, func(t *testing.T) {
			columns, err := Choose(All(), nil).Columns(matrix)
			require.NoError(t, err)
			var names, handlers, families []string
			for _, g := range Groups(columns) {
				flags := g.Flags()
				names, handlers, families = append(names, g.Name()), append(handlers, orHyphen(flags["handler"])), append(families, orHyphen(flags["family"]))
			}
			require.Equal(t, want.names, strings.Join(names, " "))
			require.Equal(t, want.handlers, strings.Join(handlers, "; "))
			require.Equal(t, want.families, strings.Join(families, "; "))
		})
	}
}

func orHyphen(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func TestArchitecture(t *testing.T) {
	got, err := Choose(All(), nil).Columns("runsc")
	require.NoError(t, err)
	require.Equal(t, "runsc: it exists for amd64 and arm64, and the nodes would be s390x", got[0].Lacks(Host{Architecture: "s390x"}))
	require.Empty(t, got[0].Lacks(Host{Architecture: "arm64"}))
	require.Empty(t, got[0].Lacks(Host{}))
}

// FuzzColumns: any words are columns with names that are folders' names, or a sentence.
func FuzzColumns(f *testing.F) {
	f.Add("ipv4,dual", "iptables nftables+ipv6")
	f.Add("", "proxies+dual,, ++")
	f.Add("", "kubernetes-1.35+containerd-1.7 versions")
	f.Fuzz(func(t *testing.T, family, matrix string) {
		got, err := Choose(All(), map[string]string{"family": family}).Columns(matrix)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.NotEmpty(t, got)
		names := map[string]bool{}
		for _, c := range got {
			require.Regexp(t, `^[a-z0-9]([a-z0-9.+-]*[a-z0-9])?$`, c.Name())
			require.False(t, names[c.Name()])
			names[c.Name()] = true
		}
	})
}
