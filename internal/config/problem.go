package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong with the configuration. Any goroutine.
type Problem struct {
	Key     string `json:"key,omitempty"`     // dotted key, or the environment variable's name
	Value   string `json:"value,omitempty"`   // as found; text is quoted
	Where   string `json:"where,omitempty"`   // "FILE:LINE", an environment variable's name or "environment"
	Allowed string `json:"allowed,omitempty"` // what would be right
	Wrong   string `json:"wrong,omitempty"`   // what is wrong with the file that the value names, perhaps with a hint in a second line; then Allowed is ""
	Nearest string `json:"nearest,omitempty"` // for an unknown key: the known one that was perhaps meant
}

// String is the problem in one line, but for the hint of Wrong.
func (p Problem) String() string {
	var b strings.Builder
	sep := ""
	add := func(format, s string) {
		if s != "" {
			b.WriteString(sep)
			fmt.Fprintf(&b, format, s)
			sep = ": "
		}
	}
	add("%s", p.Key)
	add("%s", p.Value)
	if p.Where != "" && b.Len() > 0 {
		fmt.Fprintf(&b, " (%s)", p.Where)
	} else {
		add("%s", p.Where)
	}
	switch {
	case p.Wrong != "":
		add("%s", p.Wrong)
	case p.Allowed == noSuchKey:
		add("%s", p.Allowed)
	default:
		add("allowed: %s", p.Allowed)
	}
	if p.Nearest != "" {
		fmt.Fprintf(&b, ", nearest is %s", p.Nearest)
	}
	return b.String()
}

// Problems is everything that Load or Validate found, never empty as an error.
type Problems []Problem

// Error has one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Wrong is a problem with the file that the key names. Any goroutine.
func (c *Config) Wrong(key, what string) Problem {
	return Problem{Key: key, Where: c.sources[key], Wrong: what}
}

// Refused is a problem with the key's value, which would be right if others were as
// allowed says. Any goroutine that may read c.
func (c *Config) Refused(key, allowed string) Problem {
	p := Problem{Key: key, Where: c.sources[key], Allowed: allowed}
	for _, f := range fields() {
		if f.key == key {
			p.Value = f.show(f.format(c))
		}
	}
	return p
}

// has says whether the key's value at that place has been reported already.
func (p Problems) has(key, where string) bool {
	return slices.ContainsFunc(p, func(q Problem) bool { return q.Key == key && q.Where == where })
}

// maxShown bounds how much of a wrong value is repeated.
const maxShown = 80

// show writes a value that was found, on one line.
func show(v any) string {
	out := fmt.Sprintf("%v", v)
	switch v := v.(type) {
	case string:
		out = strconv.Quote(v)
	case []any:
		var items []string
		for _, item := range v[:min(len(v), maxShown)] {
			items = append(items, show(item))
		}
		out = "[" + strings.Join(items, ", ") + "]"
	}
	if len(out) > maxShown {
		return strings.ToValidUTF8(out[:maxShown], "") + "..."
	}
	return out
}

// showNode writes what stands in the file, a text as clean leaves it.
func showNode(n *yaml.Node, clean func(string) string) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "no value"
	case n.Tag == "!!str":
		return show(clean(n.Value))
	default:
		return clean(n.Value)
	}
}
