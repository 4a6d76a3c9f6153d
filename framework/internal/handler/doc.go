// Package handler knows the OCI handlers that clusters made here can run pods with besides the default one, each by a
// RuntimeClass of its name: what containerd and the kubelets are told of them, which files nodes get, and in what they are
// known to differ.
package handler
