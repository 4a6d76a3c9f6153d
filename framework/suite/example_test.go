package suite_test

import (
	"os"
	"testing"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/suite"
)

// shop are the requirements of another project: see the example of the package requirement for one.
func shop() []requirement.Requirement { return nil }

// Another project runs requirements of its own with two functions in a file conformance_test.go. All flags of Parley work there:
//
//	go test ./conformance -timeout 60m -args -select shop -prove
func Example() {
	run := suite.New(shop())
	TestMain := func(m *testing.M) { os.Exit(run.Main(m)) }
	TestConformance := func(t *testing.T) { run.Test(t) }

	_, _ = TestMain, TestConformance // functions of the file, there
}
