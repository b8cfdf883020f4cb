package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// field is one key: what the tags of one struct field say. Immutable; any
// goroutine.
type field struct {
	key      string // dotted, "limits.max_connections"
	doc      string
	def      string
	index    []int // of the struct field, for reflect
	kind     kind
	min, max int64 // integers and sizes as they are, durations in ns
	minText  string
	maxText  string
	oneOf    []string
	check    string
}

type kind uint8

const (
	text kind = iota
	list
	integer
	size
	duration
)

// section is one group of keys in the file.
type section struct {
	name, doc string
	fields    []field
}

// sections reads the tags once. A tag that makes no sense is a bug in this
// package and panics; every test would see it.
var sections = sync.OnceValue(func() []section {
	var out []section
	for _, s := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if s.Tag.Get("key") == "" {
			continue
		}
		sec := section{name: s.Tag.Get("key"), doc: s.Tag.Get("doc")}
		for f := range s.Type.Fields() {
			sec.fields = append(sec.fields, newField(sec.name, f, append(slices.Clone(s.Index), f.Index...)))
		}
		out = append(out, sec)
	}
	return out
})

var fields = sync.OnceValue(func() []field {
	var out []field
	for _, s := range sections() {
		out = append(out, s.fields...)
	}
	return out
})

// keys are all dotted keys in the file's order.
var keys = sync.OnceValue(func() []string {
	var out []string
	for _, f := range fields() {
		out = append(out, f.key)
	}
	return out
})

func newField(section string, sf reflect.StructField, index []int) field {
	f := field{
		key: section + "." + sf.Tag.Get("key"), doc: sf.Tag.Get("doc"), def: sf.Tag.Get("default"), index: index,
		check: sf.Tag.Get("check"), minText: sf.Tag.Get("min"), maxText: sf.Tag.Get("max"),
	}
	if s := sf.Tag.Get("oneof"); s != "" {
		f.oneOf = strings.Split(s, ",")
	}
	switch {
	case sf.Type == reflect.TypeFor[time.Duration]():
		f.kind = duration
	case sf.Tag.Get("unit") == "bytes":
		f.kind = size
	case sf.Type.Kind() == reflect.Int || sf.Type.Kind() == reflect.Int64:
		f.kind = integer
	case sf.Type == reflect.TypeFor[[]string]():
		f.kind = list
	case sf.Type.Kind() == reflect.String:
		f.kind = text
	default:
		panic("config: " + f.key + " has a type that no key can have")
	}
	if f.kind >= integer {
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
	case f.kind == integer:
		return fmt.Sprintf("an integer from %s to %s", f.minText, f.maxText)
	case f.kind == size:
		return fmt.Sprintf("bytes from %s to %s, written as 65536, 64KiB, 1MiB or 1GiB", f.minText, f.maxText)
	case f.kind == duration:
		return fmt.Sprintf("a duration from %s to %s, written as 500ms, 5s or 1m30s", f.minText, f.maxText)
	case f.kind == list && f.oneOf != nil:
		return "a list of " + strings.Join(f.oneOf, ", ")
	case f.check == "listen":
		return `host:port, "[v6]:port", ":port" or unix:/path; one or a list, none twice`
	case f.check == "address":
		return `host:port, "[v6]:port", ":port", or "" for off`
	default:
		return "one of " + strings.Join(f.oneOf, ", ")
	}
}

// set stores v, as YAML or the environment gave it, into c. When v is not
// allowed it returns false and leaves c as it was.
func (f *field) set(c *Config, v any) bool {
	dst := reflect.ValueOf(c).Elem().FieldByIndex(f.index)
	switch f.kind {
	case text:
		s, ok := v.(string)
		if !ok || !f.allows(s) {
			return false
		}
		dst.SetString(s)
	case list:
		items, ok := items(v)
		if !ok || len(items) == 0 {
			return false
		}
		for i, s := range items {
			if !f.allows(s) || slices.Contains(items[:i], s) {
				return false
			}
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
	switch f.check {
	case "listen":
		return isListenAddress(s)
	case "address":
		return s == "" || isHostPort(s)
	default:
		return slices.Contains(f.oneOf, s)
	}
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
	v := reflect.ValueOf(c).Elem().FieldByIndex(f.index)
	switch f.kind {
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
