// Package matrix plans which clusters a run judges, and judges several of them: each by a process of its own, one after the other, so
// that what is measured on one is not of two at once.
package matrix
