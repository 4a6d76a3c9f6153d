package nodeimage

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/parley-k8s/parley/framework/internal/cluster"
)

// BundlesVariable and BundlesFlag are how a user names the folder, or the one archive, that runtimes' bundles are taken from.
const (
	BundlesVariable = "PARLEY_RUNTIME_BUNDLES"
	BundlesFlag     = "runtime-bundles"
)

// Bundle is a runtime's release archive that can be had, and what vouches for it.
type Bundle struct {
	File string // its name
	Path string // where it lies; "" until it is fetched
	URL  string // where it is fetched from; "" for one that the user named
	Sum  string // its SHA-256 sum, in hexadecimal, which is checked before anything is taken from it
	By   string // what the sum is from, for people
}

// bundleName fills in the architecture and the version.
func bundleName(pattern, version string) string {
	return strings.NewReplacer("{arch}", runtime.GOARCH, "{version}", version).Replace(pattern)
}

// isBundle says whether a file's name is that of an archive of the product, for this architecture.
func isBundle(of cluster.Bundle, name string) bool {
	prefix, suffix := bundleName(of.Prefix, ""), bundleName(of.Suffix, "")
	return len(name) > len(prefix)+len(suffix) && strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix)
}

// FindBundle finds the product's release archive: in the folder that the user named, or as the file that was named; else in
// the cache, or at the official address if that answers. The error is one sentence that says what was tried and names the remedy.
func FindBundle(ctx context.Context, of cluster.Bundle, named string) (Bundle, error) {
	if named != "" {
		b, ok, err := namedBundle(of, named)
		if err != nil || ok {
			return b, err
		}
	}
	b, err := officialBundle(ctx, of)
	if err != nil {
		tried := "no bundle of " + of.Name + " is named"
		if named != "" {
			tried = named + " has no bundle of " + of.Name
		}
		return Bundle{}, fmt.Errorf("%s, and %w: name a folder that has %s and its checksum by %s or -%s", tried, err,
			bundleName(of.Prefix+"VERSION"+of.Suffix, ""), BundlesVariable, BundlesFlag)
	}
	return b, nil
}

// namedBundle looks in what the user named; ok is false where the product is not there.
func namedBundle(of cluster.Bundle, named string) (b Bundle, ok bool, err error) {
	info, err := os.Stat(named)
	if err != nil {
		return Bundle{}, false, fmt.Errorf("%s names no folder or archive: %w", BundlesVariable, err)
	}
	files := []string{named}
	if info.IsDir() {
		entries, err := os.ReadDir(named)
		if err != nil {
			return Bundle{}, false, fmt.Errorf("looking for the runtimes' bundles: %w", err)
		}
		files = nil
		for _, e := range entries {
			files = append(files, filepath.Join(named, e.Name()))
		}
	}
	var found []string
	for _, f := range files {
		if isBundle(of, filepath.Base(f)) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return Bundle{}, false, nil
	case 1:
	default:
		return Bundle{}, false, fmt.Errorf("%s has several bundles of %s (%s and %s): name the one that is meant, or leave one there",
			named, of.Name, filepath.Base(found[0]), filepath.Base(found[1]))
	}
	b = Bundle{File: filepath.Base(found[0]), Path: found[0]}
	if sum, pinned := of.Sums[runtime.GOARCH]; pinned && b.File == officialName(of) {
		b.Sum, b.By = sum, pinnedBy(of)
		return b, true, nil
	}
	sum, in, err := sumBeside(b.Path)
	if err != nil {
		return Bundle{}, false, err
	}
	b.Sum, b.By = sum, in+" beside it"
	return b, true, nil
}

func pinnedBy(of cluster.Bundle) string {
	return "the sum that Parley knows of the release " + of.Name + " " + of.Version
}

func officialName(of cluster.Bundle) string { return path.Base(bundleName(of.URL, of.Version)) }

// officialBundle is the release that Parley knows the sum of, from the cache or from its address, which must answer.
func officialBundle(ctx context.Context, of cluster.Bundle) (Bundle, error) {
	url, sum := bundleName(of.URL, of.Version), of.Sums[runtime.GOARCH]
	if sum == "" {
		return Bundle{}, fmt.Errorf("no release of it is known for %s", runtime.GOARCH)
	}
	if b, ok := fetchedBundle(of); ok {
		return b, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, fmt.Errorf("no answer within %s", probeTimeout))
	defer cancel()
	if err := httpCopy(ctx, http.MethodHead, url, io.Discard); err != nil {
		return Bundle{}, fmt.Errorf("%s does not answer (%w)", url, err)
	}
	return release(of), nil
}

// release is the official release for this architecture, of which a sum is known.
func release(of cluster.Bundle) Bundle {
	return Bundle{File: officialName(of), URL: bundleName(of.URL, of.Version), Sum: of.Sums[runtime.GOARCH], By: pinnedBy(of)}
}

// fetchedBundle is the official release if it was fetched before.
func fetchedBundle(of cluster.Bundle) (Bundle, bool) {
	c, err := openCache()
	if err != nil {
		return Bundle{}, false
	}
	b := release(of)
	dir, ok := c.get(b.entry())
	b.Path = filepath.Join(dir, b.File)
	return b, ok
}

func (b Bundle) entry() string { return entryName("bundle", b.File, b.Sum) }

// httpCopy sends a request without a body to an address and copies the body of the answer.
func httpCopy(ctx context.Context, method, url string, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("%s", reason(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it says %s", resp.Status)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

// bundleFile returns the bundle's file, which is fetched where it is not there yet, with its sum checked.
func (b *builder) bundleFile(ctx context.Context, of Bundle, s *step) (string, error) {
	if of.Path != "" {
		if of.URL == "" {
			return of.Path, checkSum(of, of.Path)
		}
		s.cached() // whose files are as they were when they were put there
		return of.Path, nil
	}
	dir, err := b.folder("bundle")
	if err != nil {
		return "", err
	}
	s.detail("fetching " + of.URL)
	file := filepath.Join(dir, of.File)
	f, err := os.Create(file)
	if err != nil {
		return "", fmt.Errorf("keeping a runtime's bundle: %w", err)
	}
	err = httpCopy(ctx, http.MethodGet, of.URL, f)
	if err := cmp.Or(err, f.Close()); err != nil {
		return "", fmt.Errorf("fetching %s: %w", of.URL, err)
	}
	if err := checkSum(of, file); err != nil {
		return "", err
	}
	kept, err := b.cache.put(of.entry(), dir)
	return filepath.Join(kept, of.File), err
}

// checkSum reads a file whole and compares its sum with what vouches for it.
func checkSum(of Bundle, file string) error {
	sum, _, err := fileSum(file)
	if err != nil {
		return fmt.Errorf("reading a runtime's bundle: %w", err)
	}
	if got := hex.EncodeToString(sum); got != of.Sum {
		return fmt.Errorf("%s is not what it should be: its SHA-256 sum is %s, and by %s it is %s; a build of your own wants a name of its own and a sum beside it",
			file, got, of.By, of.Sum)
	}
	return nil
}
