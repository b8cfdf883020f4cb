package rpcgen

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Names of the generated files.
const (
	serverName = "rpc_gen.go"    // in each area
	wiringName = "wiring_gen.go" // in the handlers folder
	clientRoot = "api_gen.go"    // in the client folder, as the next
	areaPrefix = "area_"         // before the area's name
	suffix     = "_gen.go"
)

// Output is what one run wants on disk. It belongs to one goroutine.
type Output struct {
	// Notes are what may not be meant, in the order of the sources.
	Notes Problems

	root   string
	files  []file   // sorted by path
	remove []string // generated files that nothing stands behind any more
}

type file struct {
	path string // relative to the module's root, with slashes
	data []byte
}

// output writes all files in memory.
func (g *generator) output() (*Output, error) {
	out := &Output{root: g.root, Notes: g.notes.sorted()}
	var failed error
	add := func(name string, data []byte, err error) {
		failed = errors.Join(failed, err)
		out.files = append(out.files, file{name, data})
	}
	data, err := g.wiringFile()
	add(path.Join(g.config.Handlers, wiringName), data, err)
	pkg := path.Base(g.config.Client)
	data, err = g.clientRootFile(pkg)
	add(path.Join(g.config.Client, clientRoot), data, err)
	records := g.areaRecords()
	for _, a := range g.areas {
		data, err = g.serverFile(a)
		add(path.Join(g.config.Handlers, a.name, serverName), data, err)
		data, err = g.clientFile(pkg, a, records[a])
		add(path.Join(g.config.Client, areaPrefix+a.name+suffix), data, err)
	}
	add(g.config.Page, g.page(), nil)
	tasks, err := g.taskFiles()
	failed = errors.Join(failed, err)
	out.files = append(out.files, tasks...)
	if failed != nil {
		return nil, failed
	}
	slices.SortFunc(out.files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	wanted := make(map[string]bool)
	for _, f := range out.files {
		wanted[f.path] = true
		if err := out.checkOwn(f.path); err != nil {
			return nil, err
		}
	}
	for _, old := range g.old {
		if !wanted[old] {
			out.remove = append(out.remove, old)
		}
	}
	return out, nil
}

// findGenerated lists the generated files that are on disk.
func (g *generator) findGenerated() error {
	for _, dir := range []string{g.config.Handlers, g.config.Client, g.config.Tasks} {
		err := filepath.WalkDir(g.abs(dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, suffix) {
				return err
			}
			data, err := os.ReadFile(name)
			if err == nil && isGenerated(data) {
				g.old = append(g.old, g.relative(name))
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	slices.Sort(g.old)
	return nil
}

func isGenerated(data []byte) bool {
	return bytes.HasPrefix(data, []byte(header+"\n")) || bytes.HasPrefix(data, []byte(pageHeader+"\n"))
}

// checkOwn reports an error when a file that somebody wrote stands where a
// generated one goes.
func (o *Output) checkOwn(name string) error {
	data, err := os.ReadFile(o.abs(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !isGenerated(data):
		return Problems{{Text: fmt.Sprintf("%s is in the way: generated code goes there, and this file does not begin with %q", name, header)}}
	}
	return nil
}

func (o *Output) abs(slash string) string { return filepath.Join(o.root, filepath.FromSlash(slash)) }

// Stale lists the files that Write would change, add or delete, relative to the
// module's root and sorted.
func (o *Output) Stale() ([]string, error) {
	stale := slices.Clone(o.remove)
	for _, f := range o.files {
		data, err := os.ReadFile(o.abs(f.path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !bytes.Equal(data, f.data) {
			stale = append(stale, f.path)
		}
	}
	slices.Sort(stale)
	return stale, nil
}

// Write brings the files on disk up to date and returns the names of those that
// it changed, added or deleted. Files that are as they should be are not
// touched.
func (o *Output) Write() ([]string, error) {
	stale, err := o.Stale()
	if err != nil {
		return nil, err
	}
	for _, f := range o.files {
		if slices.Contains(stale, f.path) {
			if err := replace(o.abs(f.path), f.data); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range o.remove {
		if err := os.Remove(o.abs(name)); err != nil {
			return nil, err
		}
		os.Remove(filepath.Dir(o.abs(name))) // succeeds only when nothing else is in the folder
	}
	return stale, nil
}

// replace writes a file so that nobody sees half of it.
func replace(name string, data []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".rpcgen-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
