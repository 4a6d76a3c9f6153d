package requirement

import "github.com/parley-k8s/parley/framework/internal/runid"

// RunLabel is the label key by which an object says which run made it; its value is the run's ID.
const RunLabel = runid.Label
