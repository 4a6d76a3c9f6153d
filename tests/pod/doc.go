// Package pod is the chapter about how pods reach each other and themselves by their own addresses, on one node and across nodes.
package pod
