package rpc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gameserverd/wire"
)

// UnknownMethod is what calls of methods that there are not count under; no method
// can have the name.
const UnknownMethod = "unknown"

// Registry is the set of methods that a server answers. It is filled before the
// server starts and only read after that.
type Registry struct {
	methods map[string]*Method
	frozen  bool
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{methods: make(map[string]*Method)}
}

// Add registers methods. It reports every method that cannot be served at once:
// a name that is taken (naming both places), a name that is no method name, or a
// method that does not have exactly one way to run. Before Freeze only; one
// goroutine.
func (r *Registry) Add(methods ...Method) error {
	if r.frozen {
		return errors.New("rpc: the registry is frozen: methods are added before the server starts")
	}
	var problems []error
	for i := range methods {
		m := &methods[i]
		if err := m.check(); err != nil {
			problems = append(problems, err)
			continue
		}
		if first, taken := r.methods[m.Name]; taken {
			problems = append(problems, fmt.Errorf("method %q is defined twice: at %s and at %s", m.Name, first.place(), m.place()))
			continue
		}
		r.methods[m.Name] = m
	}
	return errors.Join(problems...)
}

// Freeze ends the filling of the registry; from then on any goroutine may read it.
// A second Freeze does nothing. One goroutine at a time.
func (r *Registry) Freeze() {
	if r.frozen {
		return
	}
	r.frozen = true
	for i, m := range r.Methods() {
		r.methods[m.Name].index = i
	}
}

// Lookup finds a method by its wire name. Any goroutine, after Freeze.
func (r *Registry) Lookup(name string) (*Method, bool) {
	m, ok := r.methods[name]
	return m, ok
}

// Methods describes all methods, sorted by name. Any goroutine, after Freeze.
func (r *Registry) Methods() []MethodInfo {
	infos := make([]MethodInfo, 0, len(r.methods))
	for _, m := range r.methods {
		infos = append(infos, m.info())
	}
	slices.SortFunc(infos, func(a, b MethodInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

func (m *Method) place() string {
	if m.Where == "" {
		return "an unknown place"
	}
	return m.Where
}

func (m *Method) check() error {
	if err := CheckName(m.Name); err != nil {
		return fmt.Errorf("method at %s: %w", m.place(), err)
	}
	if m.Name == UnknownMethod {
		return fmt.Errorf("method at %s: the name %q is taken: calls of methods that there are not count under it", m.place(), m.Name)
	}
	ways := 0
	for _, set := range []bool{m.Sync != nil, m.Async != nil, m.Blocking != nil} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return fmt.Errorf("method %q at %s has %d ways to run, it needs exactly one", m.Name, m.place(), ways)
	}
	return nil
}

// CheckName reports whether name can be a method's wire name: 1 to
// wire.MaxMethod bytes of letters, digits, '_' and '.', not beginning or ending
// with a dot. Any goroutine.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the method name is empty")
	case len(name) > wire.MaxMethod:
		return fmt.Errorf("the method name %.32q... has %d bytes, at most %d are allowed", name, len(name), wire.MaxMethod)
	case name[0] == '.' || name[len(name)-1] == '.':
		return fmt.Errorf("the method name %q begins or ends with a dot", name)
	}
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '_' && r != '.' {
			return fmt.Errorf("the method name %q has %q in it: letters, digits, '_' and '.' are allowed", name, r)
		}
	}
	return nil
}
