package suite

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/matrix"
)

func namesOf(columns []axis.Column) (names []string) {
	for _, c := range columns {
		names = append(names, c.Name())
	}
	return names
}

func TestConfigColumns(t *testing.T) {
	for name, c := range map[string]struct {
		config        Config
		names         []string
		family, proxy string // of a run of one cluster
		says          string
	}{
		"nothing":                    {Config{}, []string{"default"}, "", "", ""},
		"one value":                  {Config{ProxyMode: "nftables"}, []string{"nftables"}, "", "nftables", ""},
		"one entry":                  {Config{Matrix: "dual+nftables"}, []string{"dual+nftables"}, "dual", "nftables", ""},
		"a runtime":                  {Config{Runtime: "crio", Family: "dual"}, []string{"dual+crio"}, "dual", "", ""},
		"no such runtime":            {Config{Runtime: "rkt"}, nil, "", "", "-runtime rkt: the runtimes are containerd, crio and docker"},
		"two":                        {Config{ProxyMode: "iptables,nftables"}, []string{"iptables", "nftables"}, "", "iptables,nftables", ""},
		"unknown":                    {Config{Family: "ipv5"}, nil, "", "", "the address families are ipv4, ipv6 and dual"},
		"a matrix of a user's":       {Config{Matrix: "proxies", Kubeconfig: "k"}, nil, "", "", "compare saved reports with `parley diff`"},
		"a list for a user's":        {Config{Family: "ipv4,dual", Context: "c"}, nil, "", "", "leave them out with -kubeconfig or -context"},
		"a version":                  {Config{Kubernetes: "kubernetes-1.35"}, []string{"kubernetes-1.35"}, "", "", ""},
		"versions":                   {Config{Containerd: "2.4,2.1"}, []string{"containerd-2.4", "containerd-2.1"}, "", "", ""},
		"an image and a version":     {Config{NodeImage: "x", Kubernetes: "1.35"}, nil, "", "", "-node-image names an image, whose versions are its own"},
		"an image, versions in sets": {Config{NodeImage: "x", Matrix: "iptables containerds"}, nil, "", "", "versions in -matrix"},
		"an image and a proxy mode":  {Config{NodeImage: "x", ProxyMode: "nftables"}, []string{"nftables"}, "", "nftables", ""},
		"one entry, a user's":        {Config{Matrix: "dual", Context: "c"}, nil, "", "", "leave them out with -kubeconfig or -context"},
		"a user's and nothing asked": {Config{Context: "c"}, []string{"default"}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.config.columns()
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.names, namesOf(got))
			require.Equal(t, c.family, c.config.Family)
			require.Equal(t, c.proxy, c.config.ProxyMode)
		})
	}
}

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{{nil, 0}, {[]int{0, 0}, 0}, {[]int{0, 1}, 1}, {[]int{2, 1}, 1}, {[]int{2, 0}, 2}, {[]int{0, 137}, 2}} {
		require.Equal(t, c.want, worst(c.codes), "%v", c.codes)
	}
}

func TestAColumnIsStoppedByItsMatrix(t *testing.T) {
	require.EqualError(t, interruption(syscall.SIGTERM), "interrupted by terminated")
	t.Setenv("PARLEY_COLUMN", "nftables")
	require.ErrorIs(t, interruption(syscall.SIGTERM), matrix.ErrStopped)
	require.EqualError(t, interruption(os.Interrupt), "interrupted by interrupt")
}
