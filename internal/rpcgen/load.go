package rpcgen

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/tools/go/packages"
)

// source is one package below the handlers folder.
type source struct {
	folder string // relative to the handlers folder; "." is the folder itself
	types  *types.Package
	info   *types.Info
	files  []*ast.File
	path   string
	broken bool // it does not compile; the reasons have been noted
}

// load reads and type-checks the packages below the handlers folder. Generated
// files are hidden from the go command, so that it does not matter whether they
// are missing or call methods that have gone.
func load(c Config) (*generator, error) {
	g := &generator{
		config: c, fset: token.NewFileSet(), seen: make(map[Problem]bool),
		docs: make(map[string]map[string]typeDoc), records: make(map[*types.Named]*record),
	}
	if err := g.findModule(); err != nil {
		return nil, err
	}
	if info, err := os.Stat(g.abs(c.Handlers)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("there is no folder %s in %s", c.Handlers, g.root)
	}
	if err := g.findGenerated(); err != nil {
		return nil, err
	}
	// Tasks first: handlers apply them by functions that are generated.
	written, err := g.loadTasks()
	if err != nil {
		return nil, err
	}
	loaded, err := g.loadFolder(c.Handlers, written)
	if err != nil {
		return nil, err
	}
	for _, p := range loaded {
		g.addPackage(p)
	}
	return g, nil
}

// loadFolder reads and type-checks the packages below a folder, with its generated
// files hidden, and with others as they will be.
func (g *generator) loadFolder(folder string, written []file) ([]*packages.Package, error) {
	dir, err := os.MkdirTemp("", "rpcgen-overlay-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	overlay, err := g.overlay(dir, folder, written)
	if err != nil {
		return nil, err
	}
	loaded, err := packages.Load(&packages.Config{
		// Without NeedDeps, what handlers import comes from the build cache.
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedTypesSizes,
		Dir: g.root, Fset: g.fset, BuildFlags: []string{"-overlay=" + overlay},
	}, "./"+folder+"/...")
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", folder, err)
	}
	return loaded, nil
}

func (g *generator) abs(slash string) string { return filepath.Join(g.root, filepath.FromSlash(slash)) }

// findModule looks for go.mod in the configured folder and those above.
func (g *generator) findModule() error {
	dir, err := filepath.Abs(g.config.Dir)
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	for start := dir; ; {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			g.root, g.module = dir, modfile.ModulePath(data)
			if g.module == "" {
				return fmt.Errorf("%s names no module", filepath.Join(dir, "go.mod"))
			}
			return nil
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, os.ErrNotExist) {
			return err
		} else if up == dir {
			return fmt.Errorf("there is no go.mod in %s or above", start)
		}
		dir = up
	}
}

// overlay writes a go command overlay in which the generated files below a folder do
// not exist, and the written ones have their new content, and returns its name.
func (g *generator) overlay(dir, folder string, written []file) (string, error) {
	replaced := make(map[string]string)
	for _, file := range g.old {
		if strings.HasPrefix(file, folder+"/") {
			replaced[g.abs(file)] = ""
		}
	}
	for i, file := range written {
		name := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(name, file.data, 0o600); err != nil {
			return "", err
		}
		replaced[g.abs(file.path)] = name
	}
	data, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, data, 0o600)
}

// addPackage takes over one loaded package, or notes why it does not compile.
func (g *generator) addPackage(p *packages.Package) {
	base := path.Join(g.module, g.config.Handlers)
	s := &source{folder: ".", types: p.Types, info: p.TypesInfo, files: p.Syntax, path: p.PkgPath}
	if rest, below := strings.CutPrefix(p.PkgPath, base+"/"); below {
		s.folder = rest
	}
	var listed []packages.Error
	for _, e := range p.Errors {
		if e.Kind == packages.ListError || e.Kind == packages.UnknownError {
			listed = append(listed, e)
			continue
		}
		s.broken = true
		g.problemAt(g.parsePosition(e.Pos), compileError(e.Msg))
	}
	if !s.broken { // the go command repeats in its own words what the type checker has said
		for _, e := range listed {
			s.broken = true
			g.problemAt(g.parsePosition(e.Pos), compileError(e.Msg))
		}
	}
	switch {
	case s.folder == "." && !s.broken:
		g.parts = s.types
	case s.folder != ".":
		g.packages = append(g.packages, s)
	}
}

// notFound is what the type checker says of an import that the go command did
// not find.
var notFound = regexp.MustCompile(`^could not import (\S+) \(invalid package name: ""\)$`)

func compileError(msg string) string {
	msg = strings.TrimSpace(msg)
	if m := notFound.FindStringSubmatch(msg); m != nil {
		return fmt.Sprintf("imports %s, and there is no such package", m[1])
	}
	return "does not compile: " + msg
}

// parsePosition reads "file:line:col", "file:line" or "-".
func (g *generator) parsePosition(s string) token.Position {
	if s == "" || s == "-" {
		return token.Position{}
	}
	var numbers []int
	for range 2 {
		i := strings.LastIndexByte(s, ':')
		n, err := strconv.Atoi(s[i+1:])
		if i < 0 || err != nil {
			break
		}
		numbers, s = append([]int{n}, numbers...), s[:i]
	}
	p := token.Position{Filename: s}
	if !filepath.IsAbs(s) {
		p.Filename = filepath.Join(g.root, s)
	}
	p.Filename = g.relative(p.Filename)
	if len(numbers) > 0 {
		p.Line = numbers[0]
	}
	if len(numbers) > 1 {
		p.Column = numbers[1]
	}
	return p
}
