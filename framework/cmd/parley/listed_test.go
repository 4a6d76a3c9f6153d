package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/tests"
)

func TestRequirementsAreValid(t *testing.T) {
	require.NoError(t, requirement.ValidateChapters(tests.Chapters()))
}

// A requirement that nobody lists would never run, and nobody would notice.
func TestEveryRequirementIsListed(t *testing.T) {
	root := filepath.Join("..", "..", "..", "tests")
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	all, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "all.go"), nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	listed := map[string]bool{} // chapters whose list tests.Chapters takes up
	ast.Inspect(all, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Requirements" {
			if chapter, ok := s.X.(*ast.Ident); ok {
				listed[chapter.Name] = true
			}
		}
		return true
	})
	of := map[string]int{}
	for _, r := range tests.All() {
		of[r.Chapter()]++
	}
	chapters := 0
	for _, e := range entries {
		files := parseChapter(t, filepath.Join(root, e.Name()))
		if !e.IsDir() || len(files) == 0 {
			continue
		}
		chapters++
		require.True(t, listed[e.Name()], "tests.Chapters does not take up the list of the chapter %s", e.Name())
		require.Positive(t, of[e.Name()], "the package %s has no requirement of its own chapter", e.Name())
		require.Empty(t, unlisted(files), "constructors in tests/%s that its Requirements does not name", e.Name())
	}
	require.Len(t, of, chapters, "each chapter is a package of its own")
}

func parseChapter(t *testing.T, dir string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, path := range paths {
		require.False(t, strings.HasSuffix(path, "_test.go"), "%s: the flags after -args reach a single test package only", path)
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	return files
}

// unlisted are a package's functions that return requirements and whose names can't be reached from those in the
// body of Requirements.
func unlisted(files []*ast.File) []string {
	uses := map[string][]string{} // what is declared -> the names in it
	var makers []string
	note := func(name string, in ast.Node) {
		ast.Inspect(in, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				uses[name] = append(uses[name], id.Name)
			}
			return true
		})
	}
	for _, f := range files {
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Body != nil {
					note(d.Name.Name, d.Body)
				}
				if makes(d.Type) {
					makers = append(makers, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						for _, name := range v.Names {
							note(name.Name, v)
						}
					}
				}
			}
		}
	}
	reached := map[string]bool{}
	next := []string{"Requirements"}
	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		if !reached[name] {
			reached[name] = true
			next = append(next, uses[name]...)
		}
	}
	var lost []string
	for _, name := range makers {
		if !reached[name] {
			lost = append(lost, name)
		}
	}
	return lost
}

// makes says whether a function returns a requirement or a list of them.
func makes(f *ast.FuncType) bool {
	if f.Results == nil {
		return false
	}
	for _, result := range f.Results.List {
		of := result.Type
		if list, ok := of.(*ast.ArrayType); ok {
			of = list.Elt
		}
		if s, ok := of.(*ast.SelectorExpr); ok && s.Sel.Name == "Requirement" {
			return true
		}
	}
	return false
}

func TestUnlisted(t *testing.T) {
	const source = `package x
func Requirements() []requirement.Requirement { return append([]requirement.Requirement{a()}, table...) }
func a() requirement.Requirement { return b("tcp") }
func b(string) requirement.Requirement { return requirement.Requirement{} }
var table = c()
func c() []requirement.Requirement { return nil }
func lost() requirement.Requirement { return alsoLost()[0] }
func alsoLost() (all []requirement.Requirement) { return nil }
func check(*requirement.Requirement) error { return nil }
`
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", source, parser.SkipObjectResolution)
	require.NoError(t, err)
	require.Equal(t, []string{"lost", "alsoLost"}, unlisted([]*ast.File{f}))
}
