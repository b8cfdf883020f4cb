package config

import (
	"fmt"
	"strings"
)

// Example is the file that ships as configs/gameserverd.yaml: every key once,
// with its comment and its default. Any goroutine.
func Example() []byte {
	var b strings.Builder
	b.WriteString(`# The settings of gameserverd. Every key is here with its default: change what you need, delete the rest.
#
# A key's environment form, GAMESERVERD_ + the key in capitals with _ for . (GAMESERVERD_LISTEN_TCP),
# is stronger than this file. "gameserverd check" lists everything that is wrong in either, and
# "gameserverd check --show" says what is in force and where each value comes from.
#
# SIGHUP ("systemctl reload gameserverd") makes a running daemon read this file again: it takes every
# change over at once, but for keys that say "Needs a restart."
`)
	tree().write(&b, "")
	return []byte(b.String())
}

// write writes what is in the section n.
func (n node) write(b *strings.Builder, indent string) {
	for i, child := range n.nodes {
		if i > 0 || indent == "" {
			b.WriteByte('\n')
		}
		name := child.key[strings.LastIndexByte(child.key, '.')+1:]
		comment(b, indent, child.doc)
		if child.field == nil {
			fmt.Fprintf(b, "%s%s:\n", indent, name)
			child.write(b, indent+"  ")
			continue
		}
		allowed := "Allowed: " + child.field.allowed() + "."
		if !child.field.live {
			allowed += " Needs a restart."
		}
		comment(b, indent, allowed)
		fmt.Fprintf(b, "%s%s: %s\n", indent, name, child.field.defaultYAML())
	}
}

// defaultYAML is the default as it stands in the file.
func (f *field) defaultYAML() string {
	switch {
	case f.kind == list && strings.Contains(f.def, ","):
		return "[" + strings.ReplaceAll(f.def, ",", ", ") + "]"
	case f.def == "":
		return `""`
	}
	return f.def
}

// comment writes text as comment lines of about 100 characters.
func comment(b *strings.Builder, indent, text string) {
	const width = 100
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
