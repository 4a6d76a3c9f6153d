// Package cri reaches a node's container runtime on the socket that its kubelet names, through the agent that is
// privileged on that node, and asks it as the kubelet does (k8s.io/cri-api, runtime.v1).
package cri
