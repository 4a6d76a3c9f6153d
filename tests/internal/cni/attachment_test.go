package cni

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAttachment(t *testing.T) {
	for title, c := range map[string]struct {
		data string
		is   Attachment
	}{
		"containerd, libcni 1.1": {`{"kind":"cniCacheV1","containerId":"7b1","config":"e30=","ifName":"eth0","networkName":"kindnet",
			"cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","ns"],["K8S_POD_NAME","web-0"],["K8S_POD_INFRA_CONTAINER_ID","7b1"],["K8S_POD_UID","u-1"]],
			"result":{"cniVersion":"0.3.1","interfaces":[{"name":"veth1","mac":"x"},{"name":"eth0","sandbox":"/var/run/netns/cni-9"}]}}`,
			Attachment{"/var/run/netns/cni-9", "ns/web-0", "u-1"}},
		"libcni 1.3":             {`{"kind":"cniCacheV1","netns":"/run/netns/cni-9","cniArgs":[["K8S_POD_NAMESPACE","ns"],["K8S_POD_NAME","web-0"]]}`, Attachment{"/run/netns/cni-9", "ns/web-0", ""}},
		"somebody else's":        {`{"kind":"cniCacheV1","netns":"/run/netns/test","cniArgs":[["IgnoreUnknown","1"]]}`, Attachment{NetNS: "/run/netns/test"}},
		"podman's, no arguments": {`{"kind":"cniCacheV1","netns":"/run/netns/netns-1"}`, Attachment{NetNS: "/run/netns/netns-1"}},
	} {
		t.Run(title, func(t *testing.T) {
			is, err := ParseAttachment([]byte(c.data))
			require.NoError(t, err)
			require.Equal(t, c.is, is)
		})
	}
	for _, data := range []string{"", "{}", `{"kind":"other"}`, `{"cniVersion":"0.3.1"}`} {
		_, err := ParseAttachment([]byte(data))
		require.Error(t, err, data)
	}
	is := Attachment{"/run/netns/x", "ns/a", "u-2"}
	data, err := EncodeAttachment(is)
	require.NoError(t, err)
	again, err := ParseAttachment(data)
	require.NoError(t, err)
	require.Equal(t, is, again)
}

func FuzzParseAttachment(f *testing.F) {
	f.Add([]byte(`{"kind":"cniCacheV1","netns":"/run/netns/cni-9","cniArgs":[["K8S_POD_NAME","web-0"]],"result":{"interfaces":[{"sandbox":"x"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := ParseAttachment(data); err == nil && a.Pod == "" && a.UID != "" {
			t.Fatal("a UID of no pod")
		}
	})
}
