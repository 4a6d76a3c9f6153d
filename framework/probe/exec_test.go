package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/parley-k8s/parley/fixtures/agent/serve"
	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/probe"
)

// spdyServer speaks the exec subresource as an API server without WebSockets does (remote command protocol v4):
// its "command" is a stream of the agent, or a failure.
type spdyServer struct {
	agent *serve.Agent
	fail  string // the message of a command that can't be started

	mu      sync.Mutex
	queries []url.Values
	conns   []io.Closer
}

func (s *spdyServer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.queries = append(s.queries, r.URL.Query())
	s.mu.Unlock()
	if r.Method != http.MethodPost {
		http.Error(rw, "unable to upgrade: unsupported method", http.StatusBadRequest)
		return
	}
	if _, err := httpstream.Handshake(r, rw, []string{"v4.channel.k8s.io"}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 4)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(rw, r, func(st httpstream.Stream, _ <-chan struct{}) error {
		streams <- st
		return nil
	})
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	byType := map[string]httpstream.Stream{}
	for range 4 {
		st := <-streams
		byType[st.Headers().Get(corev1.StreamType)] = st
	}
	if s.fail != "" {
		status := metav1.Status{Status: metav1.StatusFailure, Message: s.fail}
		_ = json.NewEncoder(byType[corev1.StreamTypeError]).Encode(status)
		_, _ = byType[corev1.StreamTypeStderr].Write([]byte("agent: words on stderr\n"))
		for _, st := range byType {
			_ = st.Close()
		}
		<-conn.CloseChan()
		return
	}
	ours, theirs := net.Pipe()
	go func() { _ = s.agent.ServeStream(theirs) }()
	go func() { _, _ = io.Copy(ours, byType[corev1.StreamTypeStdin]); _ = ours.Close() }()
	_, _ = io.Copy(byType[corev1.StreamTypeStdout], ours)
}

func (s *spdyServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func execAgent(t *testing.T, s *spdyServer) *probe.Agent {
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return newAgent(t, probe.Exec(&rest.Config{Host: srv.URL}, "ns", "pod", "main", "/agent", "relay"))
}

func TestExecFallsBackToSPDY(t *testing.T) {
	ctx := testContext(t)
	s := &spdyServer{agent: serve.New("a key", serve.Limits{})}
	defer s.agent.Close()
	a := execAgent(t, s)
	_, err := a.Identity(ctx)
	require.NoError(t, err)
	s.mu.Lock()
	require.Len(t, s.queries, 2, "a WebSocket was tried first")
	q := s.queries[1]
	s.mu.Unlock()
	require.Equal(t, []string{"/agent", "relay"}, q["command"])
	require.Equal(t, "main", q.Get("container"))

	// An operation goes on while the connection to the API server is lost.
	g := newGate(t)
	done := make(chan error, 1)
	go func() {
		got, err := a.Connect(ctx, g.connect())
		if err == nil && got.Seen[0].Step != "read" {
			err = fmt.Errorf("it ended at %s", got.Seen[0].Step)
		}
		done <- err
	}()
	<-g.came
	s.cut()
	close(g.opened)
	require.NoError(t, <-done)
	require.Empty(t, g.came, "the operation ran once")
}

func TestExecThatFailsSaysWhy(t *testing.T) {
	s := &spdyServer{fail: "container not found"}
	a := execAgent(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := a.Identity(ctx)
	require.ErrorIs(t, err, probe.ErrLost)
	require.ErrorContains(t, err, "ns/pod, container main")
	require.ErrorContains(t, err, "container not found")
	require.ErrorContains(t, err, "words on stderr")
	var fault *wire.OpError
	require.NotErrorAs(t, err, &fault)
}
