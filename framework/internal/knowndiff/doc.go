// Package knowndiff has the differences of runtimes, OCI handlers and address families that a document or an issue explains: they are
// shown with it and fail nothing until they expire.
package knowndiff
