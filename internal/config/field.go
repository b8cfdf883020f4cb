package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// field is one key: what the tags of one struct field say. Immutable; any
// goroutine.
type field struct {
	key      string // dotted, "limits.max_connections", "store.sql.driver" or "data_dir"
	doc      string
	def      string
	index    []int // of the struct field, for reflect
	kind     kind
	min, max int64 // integers and sizes as they are, durations in ns
	minText  string
	maxText  string
	oneOf    []string
	check    string
	empty    bool // a list may have no item
	secret   bool // may hold a password
	live     bool // a reload changes it
}

type kind uint8

const (
	text kind = iota
	list
	integer
	size
	duration
	boolean
)

// node is one key, or a section: a group of keys and of further sections.
type node struct {
	key, doc string
	field    *field // nil: a section
	nodes    []node // of a section, in the file's order
}

// tree reads the tags once; its root is a section without a key. A tag that
// makes no sense is a bug in this package and panics; every test would see it.
var tree = sync.OnceValue(func() node {
	return node{nodes: newNodes("", reflect.TypeFor[Config](), nil)}
})

// newNodes reads the fields of one struct; prefix is its key with a dot behind.
func newNodes(prefix string, of reflect.Type, index []int) (out []node) {
	for sf := range of.Fields() {
		name := sf.Tag.Get("key")
		if name == "" {
			continue
		}
		n := node{key: prefix + name, doc: sf.Tag.Get("doc")}
		at := slices.Concat(index, sf.Index)
		if sf.Type.Kind() == reflect.Struct {
			n.nodes = newNodes(n.key+".", sf.Type, at)
		} else {
			n.field = newField(n.key, sf, at)
		}
		out = append(out, n)
	}
	return out
}

// fields are all keys in the file's order.
var fields = sync.OnceValue(func() (out []*field) {
	tree().walk(func(n node) {
		if n.field != nil {
			out = append(out, n.field)
		}
	})
	return out
})

// keys are the dotted names of fields, in their order.
var keys = sync.OnceValue(func() (out []string) {
	for _, f := range fields() {
		out = append(out, f.key)
	}
	return out
})

// sections are the dotted names of all sections.
var sections = sync.OnceValue(func() (out []string) {
	tree().walk(func(n node) {
		if n.field == nil {
			out = append(out, n.key)
		}
	})
	return out
})

// walk calls visit for every node below n.
func (n node) walk(visit func(node)) {
	for _, child := range n.nodes {
		visit(child)
		child.walk(visit)
	}
}

func newField(key string, sf reflect.StructField, index []int) *field {
	f := &field{
		key: key, doc: sf.Tag.Get("doc"), def: sf.Tag.Get("default"), index: index,
		check: sf.Tag.Get("check"), minText: sf.Tag.Get("min"), maxText: sf.Tag.Get("max"),
		empty: sf.Tag.Get("empty") == "yes", secret: sf.Tag.Get("secret") == "yes", live: sf.Tag.Get("live") == "yes",
	}
	if s := sf.Tag.Get("oneof"); s != "" {
		f.oneOf = strings.Split(s, ",")
	}
	switch {
	case sf.Type == reflect.TypeFor[time.Duration]():
		f.kind = duration
	case sf.Tag.Get("unit") == "bytes":
		f.kind = size
	case sf.Type.Kind() == reflect.Bool:
		f.kind = boolean
	case sf.Type.Kind() == reflect.Int || sf.Type.Kind() == reflect.Int64:
		f.kind = integer
	case sf.Type == reflect.TypeFor[[]string]():
		f.kind = list
	case sf.Type.Kind() == reflect.String:
		f.kind = text
	default:
		panic("config: " + f.key + " has a type that no key can have")
	}
	if f.kind >= integer && f.kind != boolean {
		var minOK, maxOK bool
		f.min, minOK = f.number(f.minText)
		f.max, maxOK = f.number(f.maxText)
		if !minOK || !maxOK || f.min > f.max {
			panic("config: " + f.key + " needs min and max")
		}
	}
	return f
}

// env is the key's environment form.
func (f *field) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

// allowed says in words what set accepts.
func (f *field) allowed() string {
	switch {
	case f.kind == boolean:
		return "true or false"
	case f.kind == integer:
		return fmt.Sprintf("an integer from %s to %s", f.minText, f.maxText)
	case f.kind == size:
		return fmt.Sprintf("bytes from %s to %s, written as 65536, 64KiB, 1MiB or 1GiB", f.minText, f.maxText)
	case f.kind == duration:
		return fmt.Sprintf("a duration from %s to %s, written as 500ms, 5s or 1m30s", f.minText, f.maxText)
	case f.check != "":
		return checks[f.check].allowed
	case f.kind == list:
		return "a list of " + strings.Join(f.oneOf, ", ")
	default:
		return "one of " + strings.Join(f.oneOf, ", ")
	}
}

// set stores v, as YAML or the environment gave it, into c. When v is not
// allowed it returns false and leaves c as it was.
func (f *field) set(c *Config, v any) bool {
	dst := f.value(c)
	switch f.kind {
	case boolean:
		on, ok := v.(bool)
		if s, text := v.(string); text { // the environment
			on, ok = s == "true", s == "true" || s == "false"
		}
		if !ok {
			return false
		}
		dst.SetBool(on)
	case text:
		s, ok := v.(string)
		if !ok || !f.allows(s) {
			return false
		}
		dst.SetString(s)
	case list:
		items, ok := items(v)
		if !ok || len(items) == 0 && !f.empty {
			return false
		}
		seen := map[string]bool{}
		for _, s := range items {
			if !f.allows(s) || seen[f.name(s)] {
				return false
			}
			seen[f.name(s)] = true
		}
		dst.Set(reflect.ValueOf(items))
	default:
		n, ok := f.number(v)
		if !ok || n < f.min || n > f.max {
			return false
		}
		dst.SetInt(n)
	}
	return true
}

func (f *field) allows(s string) bool {
	if f.check != "" {
		return checks[f.check].ok(s)
	}
	return slices.Contains(f.oneOf, s)
}

// name is what must not be twice in a list: an item of the shop with two prices
// is one item.
func (f *field) name(s string) string {
	switch f.check {
	case "shop", "board", "queue":
		s, _, _ = strings.Cut(s, ":")
	case "keyfile":
		key, _ := parseKeyFile(s)
		return key.KID
	}
	return s
}

// show writes a value that was found, on one line and without its password.
func (f *field) show(v any) string {
	if f.check == "keyfile" || f.check == "file" && strings.ContainsFunc(fmt.Sprint(v), unicode.IsControl) {
		return hidden // perhaps the key itself
	}
	if !f.secret {
		return show(v)
	}
	if s, ok := v.(string); ok {
		return show(redact(s))
	}
	return "no text" // a list with the password in it, perhaps
}

// number reads an integer, a size in bytes or a duration in ns. Floats and
// booleans are refused: 1e6 or yes in a file is more likely a mistake.
func (f *field) number(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), f.kind != duration || v == 0 // a bare 90 says no unit
	case string:
		switch f.kind {
		case duration:
			d, err := time.ParseDuration(v)
			return int64(d), err == nil
		case size:
			return parseSize(v)
		default:
			n, err := strconv.ParseInt(v, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// items reads a list, or one text with commas or spaces between the items.
func items(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }), true
	case []any:
		var out []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// sizeUnits, largest first.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func parseSize(s string) (int64, bool) {
	unit := int64(1)
	for _, u := range sizeUnits {
		if head, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimRight(head, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, false
	}
	return n * unit, true
}

// format writes c's value of the key as one would write it in the file.
func (f *field) format(c *Config) string {
	v := f.value(c)
	switch f.kind {
	case boolean:
		return strconv.FormatBool(v.Bool())
	case text:
		return v.String()
	case list:
		return strings.Join(v.Interface().([]string), ",")
	case duration:
		return formatDuration(time.Duration(v.Int()))
	case size:
		for _, u := range sizeUnits {
			if n := v.Int(); n >= u.bytes && n%u.bytes == 0 {
				return strconv.FormatInt(n/u.bytes, 10) + u.suffix
			}
		}
	}
	return strconv.FormatInt(v.Int(), 10)
}

// formatDuration is Duration.String without the "0s" that it leaves behind a
// whole minute, and with seconds for 90s.
func formatDuration(d time.Duration) string {
	if d < 10*time.Minute && d >= time.Second && d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	s := d.String()
	if head, ok := strings.CutSuffix(s, "m0s"); ok {
		s = head + "m"
	}
	if head, ok := strings.CutSuffix(s, "h0m"); ok {
		s = head + "h"
	}
	return s
}
