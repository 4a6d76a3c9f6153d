// Package node is the chapter about how nodes, their container runtimes and the control plane talk.
package node
