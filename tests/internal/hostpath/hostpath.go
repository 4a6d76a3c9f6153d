// Package hostpath follows the symbolic links of a node's file system as the node does, for one who sees it below another root.
package hostpath

import (
	"fmt"
	"path"
	"strings"
)

// mostLinks is how many links a path may have, as in the kernel (path_resolution(7)).
const mostLinks = 40

// Resolve gives the path, absolute on the node, without links in it. readlink tells a link's target, and whether there is a link at
// that path: an absolute target would lead the one who asks into his own root.
func Resolve(p string, readlink func(string) (target string, link bool, err error)) (string, error) {
	todo, done, links := strings.Split(p, "/"), "/", 0
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		at := path.Join(done, next)
		target, link, err := readlink(at)
		if err != nil {
			return "", err
		}
		if !link {
			done = at
			continue
		}
		if links++; links > mostLinks {
			return "", fmt.Errorf("%s has more than %d symbolic links", p, mostLinks)
		}
		if strings.HasPrefix(target, "/") {
			done = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done, nil
}
