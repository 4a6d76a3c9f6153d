// Package tests is what must hold: one package a chapter, one file a family of requirements, and the
// list of them all. Its only test is the conformance run itself.
package tests
