// Package probe is the suite's end of the control channel to the agents: it sends an agent requests and returns what the
// agent observed. All requests to an agent, thousands at a time, go over one stream through the Kubernetes API server and
// the kubelet, never over the network under test. When the stream breaks it is opened again, and the answers of requests
// that the agent had received are not lost.
package probe
