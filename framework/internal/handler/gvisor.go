package handler

import (
	"embed"
	"fmt"

	"github.com/parley-k8s/parley/framework/internal/nodeimage"
)

// modules has the module that gVisor's programs are built in. The shim's source does not end in .go, since it is no package
// of this module.
//
//go:embed modules
var modules embed.FS

const (
	gvisorModule = "gvisor.dev/gvisor"
	shimName     = "containerd-shim-runsc-v1"
)

// gvisor are runsc and its shim.
func gvisor() (nodeimage.Programs, error) {
	p := nodeimage.Programs{Name: "gvisor", Required: gvisorModule, Stamp: []string{gvisorModule + "/runsc/version.version={version}"}}
	var shim []byte
	for name, to := range map[string]*[]byte{"gvisor.mod": &p.Mod, "gvisor.sum": &p.Sum, "gvisor-shim.go.txt": &shim} {
		content, err := modules.ReadFile("modules/" + name)
		if err != nil {
			return p, fmt.Errorf("reading the module file of gVisor: %w", err)
		}
		*to = content
	}
	p.Sources = map[string]string{shimName + "/main.go": string(shim)}
	return p, nil
}
