package tests

import (
	"os"
	"testing"

	"github.com/parley-k8s/parley/framework/suite"
)

var run = suite.New(Chapters()...)

func TestMain(m *testing.M) { os.Exit(run.Main(m)) }

// TestConformance judges every requirement on a real cluster. Its flags stand after -args; see the README.
func TestConformance(t *testing.T) { run.Test(t) }

// BenchmarkProbes measures probes a second between two pods, BenchmarkMatrix a sweep of all pairs of sixty.
func BenchmarkProbes(b *testing.B) { run.Bench(b) }

func BenchmarkMatrix(b *testing.B) { run.BenchMatrix(b) }
