package reports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The files that Save writes.
const (
	JUnitFile   = "junit.xml"
	JSONFile    = "report.json"
	SummaryFile = "summary.txt"
)

// The files that SaveMatrix writes besides.
const (
	MatrixJSONFile     = "matrix.json"
	MatrixYAMLFile     = "matrix.yaml"
	MatrixMarkdownFile = "matrix.md"
)

// Save writes the report into the folder dir, which it makes where it is missing: JUnitFile, JSONFile and
// SummaryFile. Each appears whole or not at all, in the place of an older one.
func Save(dir string, r *Report) error {
	return save(dir, []file{
		{JUnitFile, func(w io.Writer) error { return WriteJUnit(w, r) }},
		{JSONFile, func(w io.Writer) error { return WriteJSON(w, r) }},
		{SummaryFile, func(w io.Writer) error { return WriteSummary(w, r, false) }},
	})
}

// SaveMatrix writes the report of several clusters as Save does, but compared in SummaryFile, and the comparison
// as MatrixJSONFile, MatrixYAMLFile and MatrixMarkdownFile.
func SaveMatrix(dir string, r *Report) error {
	c := Compare(r)
	return save(dir, []file{
		{JUnitFile, func(w io.Writer) error { return WriteJUnit(w, r) }},
		{JSONFile, func(w io.Writer) error { return WriteJSON(w, r) }},
		{SummaryFile, func(w io.Writer) error { return WriteComparison(w, c, false) }},
		{MatrixJSONFile, func(w io.Writer) error { return WriteComparisonJSON(w, c) }},
		{MatrixYAMLFile, func(w io.Writer) error { return WriteComparisonYAML(w, c) }},
		{MatrixMarkdownFile, func(w io.Writer) error { return WriteComparisonMarkdown(w, c) }},
	})
}

// Forget removes what Save and SaveMatrix wrote into the folder before, so that nothing of an older run is taken for
// this one's.
func Forget(dir string) error {
	var problems []error
	for _, name := range []string{JUnitFile, JSONFile, SummaryFile, MatrixJSONFile, MatrixYAMLFile, MatrixMarkdownFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return Unwritable(dir, err)
	}
	return nil
}

// file is a file of a report and what writes it.
type file struct {
	name  string
	write func(io.Writer) error
}

func save(dir string, files []file) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Unwritable(dir, err)
	}
	for _, f := range files {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return err
		}
		if err := replace(filepath.Join(dir, f.name), b.Bytes()); err != nil {
			return Unwritable(dir, err)
		}
	}
	return nil
}

// Unwritable is the sentence for a folder that takes no files: the system's word without its call and file name,
// which may be of a temporary file.
func Unwritable(dir string, err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("the reports can't be written to %s (%w): name another folder with -report", dir, err)
}

// replace writes a file whole: beside its place first, then renamed into it.
func replace(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		// Without this a power cut may leave the new name with no content.
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
