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

// The files that Save and SaveMatrix write.
const (
	JUnitFile   = "junit.xml"
	JSONFile    = "report.json"
	SummaryFile = "summary.txt"
)

// The files that only SaveMatrix writes.
const (
	MatrixJSONFile     = "matrix.json"
	MatrixYAMLFile     = "matrix.yaml"
	MatrixMarkdownFile = "matrix.md"
)

// files are all the files of a report.
var files = []struct {
	name string
	// report writes the file of one report; nil where only a comparison has the file.
	report func(io.Writer, *Report) error
	// comparison writes the file of a report of several clusters; nil where report does that too.
	comparison func(io.Writer, *Comparison) error
}{
	{JUnitFile, WriteJUnit, nil},
	{JSONFile, WriteJSON, nil},
	{SummaryFile,
		func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) },
		func(w io.Writer, c *Comparison) error { return WriteComparison(w, c, false) }},
	{MatrixJSONFile, nil, WriteComparisonJSON},
	{MatrixYAMLFile, nil, WriteComparisonYAML},
	{MatrixMarkdownFile, nil, WriteComparisonMarkdown},
}

// Save writes the report into the folder dir, which it makes where it is missing: JUnitFile, JSONFile and
// SummaryFile. Each appears whole or not at all, in the place of an older one.
func Save(dir string, r *Report) error { return save(dir, r, nil) }

// SaveMatrix writes the report of several clusters as Save does, but with their comparison in SummaryFile, and the
// comparison as MatrixJSONFile, MatrixYAMLFile and MatrixMarkdownFile.
func SaveMatrix(dir string, r *Report) error { return save(dir, r, Compare(r)) }

// Forget removes the files that Save and SaveMatrix write from the folder, so that nothing of an older run is taken for
// this one's.
func Forget(dir string) error {
	var problems []error
	for _, f := range files {
		if err := os.Remove(filepath.Join(dir, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return Unwritable(dir, err)
	}
	return nil
}

// save writes the files of a report; c is nil for one cluster.
func save(dir string, r *Report, c *Comparison) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Unwritable(dir, err)
	}
	for _, f := range files {
		var b bytes.Buffer
		var err error
		switch {
		case c != nil && f.comparison != nil:
			err = f.comparison(&b, c)
		case f.report != nil:
			err = f.report(&b, r)
		default:
			continue
		}
		if err != nil {
			return err
		}
		if err := writeFileAtomically(filepath.Join(dir, f.name), b.Bytes()); err != nil {
			return Unwritable(dir, err)
		}
	}
	return nil
}

// Unwritable is the error for a folder that can't be written to. It wraps the system's own error (permission denied, no space
// left) without the system call and the file's name, which may be that of a temporary file.
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

// writeFileAtomically writes a temporary file in the same folder and renames it, so that the file is there whole or not at all.
func writeFileAtomically(path string, content []byte) error {
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
