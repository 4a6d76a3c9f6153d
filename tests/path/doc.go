// Package path is the chapter about the paths between nodes, and to Services, in numbers: what they lose, delay and forget. Other
// chapters ask whether something works, and ask again; what is asked here is asked hundreds of times, and never again.
package path
