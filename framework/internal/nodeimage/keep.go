package nodeimage

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/parley-k8s/parley/framework/internal/engine"
)

// keepImages is how many offline images of each runtime are kept in the engine, the latest used: each takes about 1 GB, those
// of a further runtime less since they share layers, and every change of an input makes another. A matrix of all versions has
// this many.
const keepImages = 6

// markUsed notes when an image was last asked for, by which pruneImages chooses what to keep. A failure to note it
// is ignored.
func markUsed(hash string) {
	c, err := openCache()
	if err != nil {
		return
	}
	mark := filepath.Join(c.marks(), hash)
	if os.MkdirAll(c.marks(), 0o755) == nil {
		_ = os.WriteFile(mark, nil, 0o644)
		now := time.Now()
		_ = os.Chtimes(mark, now, now)
	}
}

// marks is the folder with a file for each image, whose time says when it was last used.
func (c *cache) marks() string { return filepath.Join(c.dir, "images") }

// pruneImages removes the offline images that were used longest ago. One that a container uses stays: the engine
// refuses to remove it.
func (c *cache) pruneImages(ctx context.Context, e *engine.Engine) {
	for _, hash := range c.stale() {
		ref := Repository + ":" + hash
		if present(ctx, e, ref) {
			if _, err := e.Output(ctx, "image", "rm", ref); err != nil {
				continue
			}
		}
		_ = os.Remove(filepath.Join(c.marks(), hash))
	}
}

// stale are the images to remove, by their tags: a hash, or a runtime's name, a hyphen and a hash.
func (c *cache) stale() []string {
	list, _ := os.ReadDir(c.marks())
	type mark struct {
		hash string
		at   time.Time
	}
	var marks []mark
	for _, f := range list {
		if info, err := f.Info(); err == nil {
			marks = append(marks, mark{f.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.hash, b.hash)) })
	var stale []string
	kept := map[string]int{}
	for _, m := range marks {
		runtime, _, other := strings.Cut(m.hash, "-")
		if !other {
			runtime = ""
		}
		if kept[runtime]++; kept[runtime] > keepImages {
			stale = append(stale, m.hash)
		}
	}
	return stale
}
