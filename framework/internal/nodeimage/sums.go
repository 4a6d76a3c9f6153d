package nodeimage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// sumFiles are the names under which the sum of an archive lies beside it, the nearest first; {file} is the archive's.
var sumFiles = []string{"{file}.sha256sum", "{file}.sha256", "SHA256SUMS", "sha256sum.txt"}

// A line of checksums: sha256sum(1)'s form with a blank or an asterisk before the name, its form with --tag, and a sum alone.
var (
	sumLine   = regexp.MustCompile(`^([0-9a-fA-F]{64}) [ *](.+)$`)
	taggedSum = regexp.MustCompile(`^SHA256 \((.+)\) = ([0-9a-fA-F]{64})$`)
	bareSum   = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// parseSums reads a file of SHA-256 sums: the sums by the last part of each file's name, "" for one that names no file.
// Lines of anything else are an error, and so are two sums for one name.
func parseSums(text string) (map[string]string, error) {
	sums := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		var name, sum string
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case bareSum.MatchString(line):
			sum = line
		default:
			if m := sumLine.FindStringSubmatch(line); m != nil {
				sum, name = m[1], path.Base(m[2])
			} else if m := taggedSum.FindStringSubmatch(line); m != nil {
				name, sum = path.Base(m[1]), m[2]
			} else {
				return nil, fmt.Errorf("%.80q is no line of sha256sum's", line)
			}
		}
		sum = strings.ToLower(sum)
		if other, ok := sums[name]; ok && other != sum {
			return nil, fmt.Errorf("it has two sums for %.80q", name)
		}
		sums[name] = sum
	}
	return sums, nil
}

// sumBeside finds the sum of a file in the files beside it, and says in which.
func sumBeside(file string) (sum, in string, err error) {
	dir, name := filepath.Split(file)
	for _, pattern := range sumFiles {
		in := strings.ReplaceAll(pattern, "{file}", name)
		text, err := os.ReadFile(filepath.Join(dir, in))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("reading the checksums of %s: %w", file, err)
		}
		sums, err := parseSums(string(text))
		if err != nil {
			return "", "", fmt.Errorf("reading %s: %w", filepath.Join(dir, in), err)
		}
		sum, ok := sums[name]
		if !ok && strings.Contains(pattern, "{file}") { // a file of its own may leave the name out
			sum, ok = sums[""]
		}
		if ok {
			return sum, in, nil
		}
	}
	return "", "", fmt.Errorf("nothing vouches for %s: no sum of it is beside it; if it is yours, `cd %s && sha256sum %s > %s.sha256sum`",
		file, filepath.Clean(dir), name, name)
}
