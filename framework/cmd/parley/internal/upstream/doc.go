// Package upstream runs Kubernetes' own end-to-end specs and Parley side by side: on one cluster in turn, healthy
// and under faults that a cluster's network may really have, and says what each of the two told.
//
// e2e.test, agnhost, ginkgo and kubectl are built from Kubernetes' module at the version of the offline node image;
// modules/ pins them. The images that the specs name come from a registry that may not be there: they are put
// together here, agnhost from its own module on Debian's packages of what its Dockerfile installs, under their very
// names. To move to another version, see the package nodeimage, and images.go for the images' names.
package upstream
