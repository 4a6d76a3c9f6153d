// Package unittest runs the unit tests of the packages beside it. `go test ./tests/... -args -select x` gives their test binaries
// the conformance test's flags too, which must not fail them.
package unittest

import (
	"flag"
	"io"
	"os"
	"testing"
)

// Main runs a package's tests and exits. Flags that are not go test's own, which all come before them, are ignored.
func Main(m *testing.M) {
	flag.CommandLine.Init(os.Args[0], flag.ContinueOnError)
	flag.CommandLine.SetOutput(io.Discard)
	os.Exit(m.Run())
}
