package upstream

import (
	_ "embed"

	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

//go:embed modules/e2e.mod
var mod []byte

//go:embed modules/e2e.sum
var sum []byte

// What is built, by the names of the files.
const (
	e2eTest   = "e2e.test"
	ginkgoCLI = "ginkgo"
	kubectl   = "kubectl"
	agnhost   = "agnhost"

	certificate = "localhost.crt"
	key         = "localhost.key"
)

// Programs are what is built of Kubernetes' module.
func Programs() nodeimage.Programs {
	return nodeimage.Programs{
		Name: "e2e", Mod: mod, Sum: sum, Required: "k8s.io/kubernetes",
		Tests: map[string]string{"k8s.io/kubernetes/test/e2e": e2eTest},
		// What agnhost's porter serves TLS with, from its working directory.
		Files: []string{"test/images/agnhost/porter/" + certificate, "test/images/agnhost/porter/" + key},
	}
}
