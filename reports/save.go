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

// Save writes the report into the folder dir, which it makes where it is missing: JUnitFile, JSONFile and
// SummaryFile. Each appears whole or not at all, in the place of an older one.
func Save(dir string, r *Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Unwritable(dir, err)
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer, *Report) error
	}{
		{JUnitFile, WriteJUnit},
		{JSONFile, WriteJSON},
		{SummaryFile, func(w io.Writer, r *Report) error { return WriteSummary(w, r, false) }},
	} {
		var b bytes.Buffer
		if err := f.write(&b, r); err != nil {
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
