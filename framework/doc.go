// Package framework holds how a run works. Chapters here, and other projects, import its public packages: requirement,
// exchange, fault, convergence, probe, cri, until and suite. cmd/parley is the command. What only the framework itself uses
// is internal, in the order of the job: matrix, lab, stage, judge, and what these rest on.
package framework
