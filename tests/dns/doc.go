// Package dns is the chapter about how names of Services and pods resolve.
package dns
