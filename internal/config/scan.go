package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"gameserverd/internal/nearest"
)

// scanner reads the file's YAML for viper, which on its own forgets lines, case
// and order, stops at the first thing that is wrong, and hides a whole section's
// defaults behind a plain value in its place.
type scanner struct {
	path     string
	lines    map[string]string // key or section to "FILE:LINE"
	values   map[string]any    // nested as in the file: known keys only
	problems Problems
}

const noSuchKey = "no such key"

func (s *scanner) document(raw []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return // nothing but comments
	} else if err != nil {
		s.syntax(err, bytes.HasPrefix(raw, []byte("\t")) || bytes.Contains(raw, []byte("\n\t")))
		return
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		s.problems = append(s.problems, Problem{Where: s.path, Allowed: "one YAML document"})
		return
	}
	root := doc.Content[0]
	switch {
	case root.Kind == yaml.MappingNode:
		s.mapping("", root)
	case !isNull(root):
		s.problems = append(s.problems, Problem{Where: s.at(root), Allowed: "sections such as listen: with keys under them"})
	}
}

func (s *scanner) mapping(prefix string, node *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := prefix + name.Value
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch {
		case slices.Contains(keys(), key):
			s.key(key, name, value)
		case slices.Contains(sections(), key):
			s.section(key, name, value)
		default:
			s.problems = append(s.problems, Problem{
				Key: key, Value: showNode(value, cleanFor(key)), Where: s.at(name),
				Allowed: noSuchKey, Nearest: nearest.Name(key, slices.Concat(keys(), sections())),
			})
		}
	}
}

func (s *scanner) section(key string, name, value *yaml.Node) {
	switch {
	case s.lines[key] != "":
		s.problems = append(s.problems, Problem{Key: key, Where: s.at(name), Allowed: "once; it is also at " + s.lines[key]})
	case value.Kind == yaml.MappingNode:
		s.mapping(key+".", value)
	case !isNull(value): // null: every key in it is commented out
		s.problems = append(s.problems, Problem{Key: key, Value: showNode(value, cleanFor(key)), Where: s.at(name), Allowed: "a section with keys under it"})
	}
	s.lines[key] = s.at(name)
}

func (s *scanner) key(key string, name, value *yaml.Node) {
	f := fields()[slices.Index(keys(), key)]
	clean := func(text string) string { return text }
	switch {
	case f.secret:
		clean = redact
	case f.check == "keyfile":
		clean = hide
	}
	if first := s.lines[key]; first != "" {
		s.problems = append(s.problems, Problem{Key: key, Value: showNode(value, clean), Where: s.at(name), Allowed: "once; it is also at " + first})
		return
	}
	s.lines[key] = s.at(name)
	var v any
	if value.Kind == yaml.MappingNode || isNull(value) || value.Decode(&v) != nil {
		s.problems = append(s.problems, Problem{Key: key, Value: showNode(value, clean), Where: s.at(name), Allowed: f.allowed()})
		return
	}
	path := strings.Split(key, ".")
	into := s.values
	for _, section := range path[:len(path)-1] {
		if into[section] == nil {
			into[section] = map[string]any{}
		}
		into = into[section].(map[string]any)
	}
	into[path[len(path)-1]] = v
}

func (s *scanner) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", s.path, n.Line) }

// syntax reports what is no YAML; tabs says whether a line begins with one.
func (s *scanner) syntax(err error, tabs bool) {
	text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", "; ")
	text = anchorName.ReplaceAllString(text, "unknown anchor "+hidden) // a password that begins with *
	allowed := `YAML; quote a value that begins with [ or {, or has ": " in it`
	if tabs {
		allowed = "YAML; indent with spaces, not tabs"
	}
	s.problems = append(s.problems, Problem{Where: s.path, Value: text, Allowed: allowed})
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
