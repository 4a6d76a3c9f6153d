// Package container is the chapter about what containers of one pod share, and what they must not share with anybody else.
package container
