// Package requirement is what must hold, as a value: its sentence, its source, the roles it talks
// between, the check and the negative control that proves the check able to fail. Listing, selecting,
// running, proving and reporting all read the same value.
package requirement
