package config

import (
	"reflect"
	"slices"
	"strings"
)

// Change is one key whose value differs between two configurations. Any
// goroutine.
type Change struct {
	Key  string `json:"key"`
	Old  string `json:"old"` // as in Value, and of a login key's file only the kid
	New  string `json:"new"`
	Live bool   `json:"live"` // a reload changes it; else it needs a restart
}

// Diff lists the keys whose values differ, in the file's order. No password and
// no login key's file is in it. Any goroutine.
func Diff(old, new *Config) (changes []Change) {
	for _, f := range fields() {
		before, after := f.format(old), f.format(new)
		if before == after {
			continue
		}
		c := Change{Key: f.key, Old: f.public(before), New: f.public(after), Live: f.live}
		if c.Old == c.New {
			c.New += " (another one)" // a line with the same twice would look like a mistake
		}
		changes = append(changes, c)
	}
	return changes
}

// Reloaded is c after a reload with the file of new: every key that a reload
// changes is as in new, the others stay. The error is Problems, where keys of the
// two do not go together: what is wanted needs a restart. Any goroutine.
func (c *Config) Reloaded(new *Config) (*Config, error) {
	out := new.clone()
	for _, f := range fields() {
		if f.live {
			continue
		}
		f.value(out).Set(f.value(c))
		delete(out.sources, f.key)
		if where, ok := c.sources[f.key]; ok {
			out.sources[f.key] = where
		}
	}
	problems := out.together()
	if len(problems) == 0 {
		return out, nil
	}
	for i, p := range problems {
		if f := find(p.Key); f != nil && !f.live {
			problems[i].Where = "in force until a restart"
		}
	}
	return nil, problems
}

// find is the field of a key, nil if there is none.
func find(key string) *field {
	if i := slices.Index(keys(), key); i >= 0 {
		return fields()[i]
	}
	return nil
}

// clone is a copy of c. Lists are shared: nobody changes them.
func (c *Config) clone() *Config {
	out := *c
	out.sources = make(map[string]string, len(c.sources))
	for key, where := range c.sources {
		out.sources[key] = where
	}
	return &out
}

// value is the key's field in c.
func (f *field) value(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(f.index)
}

// public is a value, as format writes it, for logs.
func (f *field) public(value string) string {
	switch {
	case f.secret:
		return redact(value)
	case f.check != "keyfile" || value == "":
		return value
	}
	files := strings.Split(value, ",")
	for i, file := range files {
		key, _ := parseKeyFile(file)
		files[i] = hidden
		if key.KID != "" {
			files[i] = key.KID + "=" + hidden
		}
	}
	return strings.Join(files, ",")
}

// HoldsSecrets reports whether the daemon has in its memory what gives strangers
// access: a secret of logins, TLS keys, a store's password. Any goroutine.
func (c *Config) HoldsSecrets() bool {
	if len(c.Auth.JWT.SecretFile) > 0 || c.Listen.TLS.KeyFile != "" {
		return true
	}
	for _, f := range fields() {
		if value := f.format(c); f.secret && redact(value) != value {
			return true
		}
	}
	return false
}
