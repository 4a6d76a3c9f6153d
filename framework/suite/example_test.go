package suite_test

import (
	"os"
	"testing"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/suite"
)

// shop is a chapter of another project; its requirements are declared as the example of the package requirement shows.
var shop = requirement.Chapter{
	Name: "shop", Judged: requirement.PerCluster,
	Says: "what the shop's pods rely on",
}

// Another project runs a chapter of its own with two functions in a file conformance_test.go. All flags of Parley work there:
//
//	go test ./conformance -timeout 60m -args -select shop -prove
func Example() {
	run := suite.New(shop)
	TestMain := func(m *testing.M) { os.Exit(run.Main(m)) }
	TestConformance := func(t *testing.T) { run.Test(t) }

	_, _ = TestMain, TestConformance // functions of the file, there
}
