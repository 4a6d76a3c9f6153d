// Package manifests carries the YAML and the configuration files that the lab is made from: each reads, and
// applies, without Parley.
//
// kind/ holds the kind configuration and the kubeadm patches that some hosts need; cni/ the network of a
// node that comes without one; runtimes/ what a node with another runtime than containerd has; handlers/ what nodes need for
// other OCI handlers than runc; rbac/ the rights that a run needs on a cluster of yours.
package manifests

import "embed"

// Kind holds kind/: cluster.yaml is a whole configuration for `kind create cluster --config`; the files
// named kubelet-*.yaml are kubeadm patches, containerd-*.toml are containerd's.
//
//go:embed kind
var Kind embed.FS

// CNI holds cni/: what a node gets when its image brings no network.
//
//go:embed cni
var CNI embed.FS

// Runtimes holds runtimes/, a folder for each runtime: kubeadm patches (kubeadm.yaml and kubelet-*.yaml) and the files of a
// node image's layer.
//
//go:embed runtimes
var Runtimes embed.FS

// Handlers holds handlers/: patches of containerd's and the kubelet's configuration, and the files that nodes get, for each
// OCI handler.
//
//go:embed handlers
var Handlers embed.FS
