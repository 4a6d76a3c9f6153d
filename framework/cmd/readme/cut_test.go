package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const ofRun = `   0.3s  engine: podman 4.3.1
   2.0s  node image: 1 of 9, kubernetes v1.36.3 ...
   9.0s  node image: 1 of 9, kubernetes v1.36.3: cached
  10.0s  runsc: cached
  12.5s  cluster: kind: joining worker nodes (7.9s)
  57.2s  holds: 6 requirements
  60.0s    1 of 6   passed      pod/own-ip (2.748s)
  60.1s    2 of 6   passed      pod/ip-unique (1s)
  60.2s    3 of 6   passed      dns/service-srv (2.781s)
  60.3s    4 of 6   unsupported pod/sctp (1ms): no socket
  60.4s    5 of 6   passed      dns/a (1s)
  61.0s    6 of 6   passed      container/hostname-shared (15.947s)
  63.0s  cluster removed (2.8s)
cluster parley-1-a
  kubernetes  v1.36.3

  pod        2 passed of 3  1 unsupported
  container  1 passed of 1

UNSUPPORTED BY THIS CLUSTER
  pod/sctp: no socket

5 passed of 6, 1 unsupported; took 1m3s
reports: /home/me/parley/reports/out/junit.xml
`

func TestShortenRun(t *testing.T) {
	got, err := shortenRun(ofRun)
	require.NoError(t, err)
	require.Equal(t, `   0.3s  engine: podman 4.3.1
  57.2s  holds: 6 requirements
  60.0s    1 of 6   passed      pod/own-ip (2.748s)
  60.1s    2 of 6   passed      pod/ip-unique (1s)
  60.2s    3 of 6   passed      dns/service-srv (2.781s)
   ...
  61.0s    6 of 6   passed      container/hostname-shared (15.947s)
  63.0s  cluster removed (2.8s)
  pod        2 passed of 3  1 unsupported
  container  1 passed of 1
5 passed of 6, 1 unsupported; took 1m3s`, got)
}

func TestShortenRunNeedsAWholeRun(t *testing.T) {
	for _, output := range []string{"", "   0.3s  engine: podman 4.3.1\n", strings.Split(ofRun, "5 passed of 6")[0], "5 passed of 6\n"} {
		_, err := shortenRun(output)
		require.ErrorContains(t, err, "not that of a run that came to its end", output)
	}
}

const ofFailure = `  1.0s    1 of 1   FAILED      pod/tcp-cross-node (10s): from a to b
  pod  0 passed of 1  1 failed

FAILED pod/tcp-cross-node (MUST): Two pods reach each other.
  requirement:        pod/tcp-cross-node: Two pods reach each other.
  evidence:           evidence/pod/tcp-cross-node/ipv4

0 passed of 1, 1 failed
  FAILED pod/tcp-cross-node: from a to b
`

func TestBlock(t *testing.T) {
	got, err := block(ofFailure, "pod/tcp-cross-node")
	require.NoError(t, err)
	require.Equal(t, `FAILED pod/tcp-cross-node (MUST): Two pods reach each other.
  requirement:        pod/tcp-cross-node: Two pods reach each other.
  evidence:           evidence/pod/tcp-cross-node/ipv4`, got)
	_, err = block(ofFailure, "pod/tcp")
	require.ErrorContains(t, err, "no failure block of pod/tcp")
}

func TestFold(t *testing.T) {
	words := strings.TrimSpace(strings.Repeat("word ", 30))
	for _, line := range []string{words, "  first broken hop:   " + words, "   1.6s  node image: " + words} {
		got := strings.Split(fold(line), "\n")
		require.Len(t, got, 2)
		require.Equal(t, line, got[0]+" "+strings.TrimLeft(got[1], " "))
		for _, part := range got {
			require.LessOrEqual(t, len(part), width)
		}
	}
	require.Equal(t, "short\nlines", fold("short\nlines"))
	long := strings.Repeat("x", width+20)
	require.Equal(t, long, fold(long))
	require.True(t, strings.HasPrefix(strings.Split(fold("  first broken hop:   "+words), "\n")[1], strings.Repeat(" ", 22)+"word"))
}

func TestHidePaths(t *testing.T) {
	require.Equal(t, "reports/out and ~/x and $TMPDIR/y", hidePaths("/home/me/parley/reports/out and /home/me/x and /tmp/y",
		map[string]string{"/home/me": "~", "/home/me/parley/": "", "/tmp": "$TMPDIR"}))
}

func TestHideLookups(t *testing.T) {
	require.Equal(t, "no registry gives kindest/node:v1.37.0: no such host",
		hideLookups("no registry gives kindest/node:v1.37.0: lookup registry.example on 192.0.2.53:53: no such host"))
}

func TestReplaceBetween(t *testing.T) {
	document := "head\n" + begin("run") + "\nold\nolder\n" + end("run") + "\ntail\n"
	got, err := replaceBetween(document, "run", "new\n")
	require.NoError(t, err)
	require.Equal(t, "head\n"+begin("run")+"\nnew\n"+end("run")+"\ntail\n", got)
	again, err := replaceBetween(got, "run", "new")
	require.NoError(t, err)
	require.Equal(t, got, again)
	_, err = replaceBetween(document, "failure", "new")
	require.ErrorContains(t, err, begin("failure"))
	_, err = replaceBetween(begin("run")+"\n", "run", "new")
	require.ErrorContains(t, err, end("run"))
}
