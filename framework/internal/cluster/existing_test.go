package cluster

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func kubeconfigFor(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "` + server + `"}}]
contexts: [{name: lab, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: lab
`
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestExisting(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"gitVersion":"v1.36.3"}`))
	}))
	defer server.Close()
	path := kubeconfigFor(t, server.URL)
	c, err := Existing(t.Context(), path, "")
	require.NoError(t, err)
	require.Equal(t, "lab", c.Name())
	require.Equal(t, path, c.Kubeconfig())
	require.False(t, c.Owned())
	require.NoError(t, c.Delete(t.Context()), "an existing cluster is left alone")
	_, err = c.NodeCommand(t.Context(), "n", "true")
	require.Error(t, err)
}

func TestExistingSaysWhatIsWrong(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	path := kubeconfigFor(t, server.URL)
	_, err := Existing(t.Context(), path, "")
	require.ErrorContains(t, err, `the API server of cluster "lab" at `+server.URL+" does not answer; check the kubeconfig")
	_, err = Existing(t.Context(), path, "nonesuch")
	require.ErrorContains(t, err, "nonesuch")
	_, err = Existing(t.Context(), path+"-none", "")
	require.ErrorContains(t, err, "the kubeconfig can't be read")
}
