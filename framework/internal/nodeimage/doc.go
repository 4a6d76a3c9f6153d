// Package nodeimage chooses the image that a kind node runs, and builds one where no registry answers.
//
// kind's own default image is used where the engine has it or a registry gives it. Else the image is
// assembled on this machine from Debian's packages and from the main packages of Kubernetes', containerd's,
// the CNI plugins', CoreDNS' and etcd's own Go modules, each pinned by a go.mod and a go.sum that lie in
// modules/ under names that go:embed takes, so that it also works for projects that import Parley.
//
// The image's tag is the hash of all that goes in. What takes long (the binaries of one module, the Debian
// base) is kept in the user's cache folder under a hash of its own, with the sums of its files.
//
// An image has one version of Kubernetes and one of containerd (versions.go says which go together). The default versions'
// files are modules/kubernetes.mod and modules/containerd.mod; another's have its number, as modules/kubernetes-1.35.mod.
// Only the files that an image is made of count in its tag.
//
// To move a module to another version: copy modules/NAME.mod and NAME.sum to an empty folder as go.mod and
// go.sum, run `go get MODULE@VERSION` and `go mod tidy` there, and copy them back.
package nodeimage
