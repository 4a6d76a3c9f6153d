package tests

import (
	"os"
	"testing"

	"github.com/parley-k8s/parley/framework/suite"
)

var run = suite.New(All())

func TestMain(m *testing.M) { os.Exit(run.Main(m)) }

// TestConformance judges every requirement on a real cluster. Its flags stand after -args; see the README.
func TestConformance(t *testing.T) { run.Test(t) }
