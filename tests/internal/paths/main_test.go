package paths

import (
	"testing"

	"github.com/parley-k8s/parley/tests/internal/unittest"
)

func TestMain(m *testing.M) { unittest.Main(m) }
