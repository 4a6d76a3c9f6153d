// Package probe is the suite's end of the control channel: it asks agents to do things and returns what they
// saw. One stream carries an agent's requests, thousands in flight, through the Kubernetes API server and the
// kubelet (never the network under test); it is opened again by itself when it is lost, and nothing that an
// agent was already doing is lost with it.
package probe
