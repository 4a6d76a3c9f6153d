// Package known has the differences of runtimes and OCI handlers that a document or an issue of theirs explains: they are shown with
// it and fail nothing until they expire.
package known
