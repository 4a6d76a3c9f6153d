package cri

import (
	"cmp"
	"slices"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func newestFirst(all []*cri.PodSandbox) []*cri.PodSandbox {
	slices.SortStableFunc(all, func(x, y *cri.PodSandbox) int { return cmp.Compare(y.CreatedAt, x.CreatedAt) })
	return all
}
