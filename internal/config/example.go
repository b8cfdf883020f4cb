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
`)
	for _, s := range sections() {
		fmt.Fprintf(&b, "\n")
		comment(&b, "", s.doc)
		fmt.Fprintf(&b, "%s:\n", s.name)
		for i, f := range s.fields {
			if i > 0 {
				b.WriteByte('\n')
			}
			comment(&b, "  ", f.doc)
			comment(&b, "  ", "Allowed: "+f.allowed()+".")
			value := f.def
			if f.kind == list && strings.Contains(value, ",") {
				value = "[" + strings.ReplaceAll(value, ",", ", ") + "]"
			}
			_, name, _ := strings.Cut(f.key, ".")
			fmt.Fprintf(&b, "  %s: %s\n", name, value)
		}
	}
	return []byte(b.String())
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
