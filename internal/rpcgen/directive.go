package rpcgen

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"

	"gameserverd/internal/nearest"
)

// directives are what the //rpc: lines of a method's doc comment say.
type directives struct {
	public, blocking, concurrent, durable, waits bool

	name   string    // the wire name, "" when none is given
	nameAt token.Pos // of the line that gives it
}

const directivePrefix = "//rpc:"

var directiveNames = []string{"public", "blocking", "concurrent", "durable", "waits", "name"}

// spaced is a directive that the go tools take for an ordinary comment.
var spaced = regexp.MustCompile(`^//\s+rpc:([a-z]+)`)

// readDirectives reads the directives of a doc comment, and adds the place of
// each to read.
func (g *generator) readDirectives(doc *ast.CommentGroup, read map[token.Pos]bool) directives {
	var d directives
	if doc == nil {
		return d
	}
	seen := make(map[string]bool)
	for _, c := range doc.List {
		if m := spaced.FindStringSubmatch(c.Text); m != nil && slices.Contains(directiveNames, m[1]) {
			g.problem(c.Slash, fmt.Sprintf("a directive has no space after the slashes: write //rpc:%s", m[1]))
			continue
		}
		line, ok := strings.CutPrefix(c.Text, directivePrefix)
		if !ok {
			continue
		}
		read[c.Slash] = true
		word, rest, _ := strings.Cut(line, " ")
		if seen[word] {
			g.problem(c.Slash, fmt.Sprintf("//rpc:%s is given twice", word))
			continue
		}
		seen[word] = true
		g.readDirective(&d, c.Slash, word, strings.Fields(rest))
	}
	return d
}

func (g *generator) readDirective(d *directives, at token.Pos, word string, args []string) {
	switch word {
	case "public":
		d.public = true
	case "blocking":
		d.blocking = true
	case "concurrent":
		d.concurrent = true
	case "durable":
		d.durable = true
	case "waits":
		d.waits = true
	case "name":
		if len(args) != 1 {
			g.problem(at, "//rpc:name takes one name, for example //rpc:name sum")
			return
		}
		if reason := badName(args[0]); reason != "" {
			g.problem(at, fmt.Sprintf("the wire name %q %s", args[0], reason))
			return
		}
		d.name, d.nameAt = args[0], at
		return
	default:
		text := fmt.Sprintf("there is no directive //rpc:%s", word)
		if meant := nearest.Name(word, directiveNames); meant != "" {
			text += fmt.Sprintf(": did you mean //rpc:%s?", meant)
		} else {
			text += ": known are //rpc:" + strings.Join(directiveNames, ", //rpc:")
		}
		g.problem(at, text)
		return
	}
	if len(args) > 0 {
		g.problem(at, fmt.Sprintf("//rpc:%s takes nothing after it, got %q", word, strings.Join(args, " ")))
	}
}

// maxName is the longest method name that the protocol allows, in bytes.
const maxName = 255

// unknownMethod is rpc.UnknownMethod.
const unknownMethod = "unknown"

// badName says why a method cannot have a wire name, or "".
func badName(name string) string {
	switch {
	case len(name) > maxName:
		return fmt.Sprintf("has %d bytes, at most %d are allowed", len(name), maxName)
	case name == unknownMethod:
		return "is what calls of methods that there are not count under"
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, "."):
		return "begins or ends with a dot"
	}
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '_' && r != '.' {
			return fmt.Sprintf("has %q in it: letters, digits, '_' and '.' are allowed", r)
		}
	}
	return ""
}

// strayDirectives tells of directives that belong to no handler and so would
// silently do nothing.
func (g *generator) strayDirectives(s *source, read map[token.Pos]bool) {
	for _, f := range s.files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if !strings.HasPrefix(c.Text, directivePrefix) || read[c.Slash] {
					continue
				}
				g.problem(c.Slash, strings.TrimSpace(c.Text)+" is not in the doc comment of a handler: an exported method of Handlers whose first parameter is *rpc.Call")
			}
		}
	}
}
