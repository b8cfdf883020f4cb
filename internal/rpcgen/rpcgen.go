// Package rpcgen reads the handlers of the daemon and writes the code that
// connects them: the registration and typed decoding of each area, the wiring of
// the areas, the typed Go client and the API page.
//
// It is not part of the daemon: nothing of it runs after the build, and it knows
// the packages that it generates code for only by name.
//
// Its one invariant: it writes everything or nothing. A handler that cannot be
// served is told about with its place, together with all others, and then no
// file has changed.
package rpcgen

import (
	"go/token"
	"go/types"
	"path/filepath"
	"sort"
	"strings"
)

// Config says where the sources are and where the results go. Paths are below
// the module's root and use slashes.
type Config struct {
	Dir      string // the module's root, or any folder in it; empty: the working folder
	Handlers string // the folder of the areas; empty: internal/handlers
	Client   string // the folder of the typed client; empty: client/api
	Page     string // the API page; empty: docs/api.md
	Tasks    string // the folder of the background tasks' areas; empty: internal/tasks. It need not be there
}

func (c Config) withDefaults() Config {
	set := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	set(&c.Dir, ".")
	set(&c.Handlers, "internal/handlers")
	set(&c.Client, "client/api")
	set(&c.Page, "docs/api.md")
	set(&c.Tasks, "internal/tasks")
	return c
}

// Problem is one reason why nothing was generated.
type Problem struct {
	Pos  token.Position // the file is relative to the module's root
	Text string
}

// Problems are all reasons why nothing was generated, in the order of the
// sources.
type Problems []Problem

// Error has one line for each problem: "file:line:col: text".
func (p Problems) Error() string {
	var b strings.Builder
	for i, problem := range p {
		if i > 0 {
			b.WriteByte('\n')
		}
		if problem.Pos.Filename != "" {
			b.WriteString(problem.Pos.String())
			b.WriteString(": ")
		}
		b.WriteString(problem.Text)
	}
	return b.String()
}

func (p Problems) sorted() Problems {
	sort.SliceStable(p, func(i, j int) bool {
		a, b := p[i].Pos, p[j].Pos
		switch {
		case a.Filename != b.Filename:
			return a.Filename < b.Filename
		case a.Line != b.Line:
			return a.Line < b.Line
		case a.Column != b.Column:
			return a.Column < b.Column
		}
		return p[i].Text < p[j].Text
	})
	return p
}

// Generate reads the handlers and returns what should be on disk. The error is
// Problems when the sources are at fault. It writes nothing.
func Generate(c Config) (*Output, error) {
	c = c.withDefaults()
	g, err := load(c)
	if err != nil {
		return nil, err
	}
	for _, pkg := range g.packages {
		g.readArea(pkg)
	}
	g.checkNames()
	g.matchParts()
	g.nameRecords()
	if len(g.problems) > 0 {
		return nil, g.problems.sorted()
	}
	return g.output()
}

// generator is one run: the sources, what was found in them, and what was wrong.
type generator struct {
	config  Config
	root    string // absolute path of the module's root
	module  string // its import path
	fset    *token.FileSet
	parts   *types.Package // the package of Parts, nil when it does not compile
	old     []string       // generated files that are there now, relative to root
	docs    map[string]map[string]typeDoc
	records map[*types.Named]*record

	packages []*source
	areas    []*area
	tasks    []*taskArea
	problems Problems
	notes    Problems
	seen     map[Problem]bool
}

// problem notes why something cannot be generated; a second one of the same
// words at the same place is dropped.
func (g *generator) problem(at token.Pos, text string) {
	g.problemAt(g.position(at), text)
}

func (g *generator) problemAt(at token.Position, text string) {
	p := Problem{at, text}
	if !g.seen[p] {
		g.seen[p] = true
		g.problems = append(g.problems, p)
	}
}

// position is a place in the sources, its file relative to the module's root.
func (g *generator) position(at token.Pos) token.Position {
	p := g.fset.Position(at)
	p.Offset = 0
	p.Filename = g.relative(p.Filename)
	return p
}

func (g *generator) relative(file string) string {
	if rel, err := filepath.Rel(g.root, file); err == nil && !strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(rel)
	}
	return file
}

// rpcPath and the others are import paths of packages that handlers use.
func (g *generator) rpcPath() string    { return g.module + "/internal/rpc" }
func (g *generator) wirePath() string   { return g.module + "/wire" }
func (g *generator) futurePath() string { return g.module + "/internal/future" }
func (g *generator) clientPath() string { return g.module + "/client" }
