package rpcgen

import (
	"fmt"
	"strings"
)

// serverFile is an area's rpc_gen.go: the methods for the registry.
func (g *generator) serverFile(a *area) ([]byte, error) {
	scope := a.source.types.Scope()
	c := newCode(a.source.path, a.source.types.Name(), append(scope.Names(), "h", "c", "a", "out", "err", "result", "value", "pending")...)
	rpc := c.use(g.rpcPath(), "rpc")
	c.printf("// Methods are the remote procedures of this area, for the registry. Each reads its\n// parameters, calls h, and writes the result.\n")
	c.printf("func Methods(h *Handlers) []%s.Method {\nreturn []%s.Method{\n", rpc, rpc)
	for _, m := range a.methods {
		g.writeMethod(&serverMethod{code: c, g: g, m: m, rpc: rpc})
	}
	c.printf("}\n}\n")
	return c.bytes()
}

// serverMethod writes one method of rpc_gen.go.
type serverMethod struct {
	*code
	g    *generator
	m    *method
	rpc  string   // the package's name in the file
	args []string // what the handler is called with
	fail string   // what a return with an error returns before it
}

// writeMethod writes the entry of a method.
func (g *generator) writeMethod(w *serverMethod) {
	m := w.m
	w.printf("{\nName: %q,\n", m.wireName)
	if doc := m.summary(); doc != "" {
		w.printf("Doc: %q,\n", doc)
	}
	if len(m.params) > 0 {
		w.printf("Params: []%s.Param{\n", w.rpc)
		for _, p := range m.params {
			optional := ""
			if p.optional {
				optional = ", Optional: true"
			}
			w.printf("{Name: %q, Type: %q%s},\n", p.wireName, p.typ.words(), optional)
		}
		w.printf("},\n")
	}
	w.printf("Result: %q,\n", m.result.words())
	for _, flag := range []struct {
		name string
		set  bool
	}{{"Public", m.public}, {"Concurrent", m.concurrent}, {"Durable", m.durable}, {"Waits", m.waits}} {
		if flag.set {
			w.printf("%s: true,\n", flag.name)
		}
	}
	pos := g.position(m.pos)
	w.printf("Where: \"%s:%d\",\n", pos.Filename, pos.Line)
	switch m.way {
	case plain:
		w.fail = "out"
		w.printf("Sync: func(c *%s.Call, a *%s.Args, out []byte) ([]byte, error) {\n", w.rpc, w.rpc)
		w.writeParams()
		w.writeCall()
	case blocking:
		w.fail = "nil"
		w.printf("Blocking: func(c *%s.Call, a *%s.Args) (func([]byte) ([]byte, error), error) {\n", w.rpc, w.rpc)
		w.writeParams()
		w.printf("return func(out []byte) ([]byte, error) {\n")
		w.fail = "out"
		w.writeCall()
		w.printf("}, nil\n")
	case future:
		w.fail = "nil"
		w.printf("Async: func(c *%s.Call, a *%s.Args) (%s.Pending, error) {\n", w.rpc, w.rpc, w.rpc)
		w.writeParams()
		result := "result"
		if m.result.form == nothing {
			result = "_"
		}
		w.printf("return %s.Await(%s, func(out []byte, %s %s) ([]byte, error) {\n", w.rpc, w.call(), result, w.typeName(m.result.goType))
		w.writeResult()
		w.printf("}), nil\n")
	}
	w.printf("},\n},\n")
}

// writeParams reads the parameters into variables of their names.
func (w *serverMethod) writeParams() {
	reserved := []string{"h", "c", "a", "out", "err", "result", "value", "converted", "wire", "wire_"}
	for _, p := range w.m.params {
		if p.optional || p.typ.converted() || p.typ.reader() == "" {
			w.typeName(p.typ.goType) // its import must be known before a variable is named like it
		}
	}
	for _, imported := range w.imports {
		reserved = append(reserved, imported)
	}
	names := newLocals(reserved...)
	w.printf("if err := a.Count(%d, %d); err != nil {\nreturn %s, err\n}\n", w.m.required(), len(w.m.params), w.fail)
	for _, p := range w.m.params {
		name := names.name(p.goName, w.m.area.source.types.Scope())
		if p.optional {
			w.printf("var %s *%s\nif a.More() {\nvalue, err := %s\n", name, w.typeName(p.typ.goType), w.read(p))
			w.printf("if err != nil {\nreturn %s, err\n}\n", w.fail)
			if p.typ.converted() {
				w.printf("converted := %s(value)\n%s = &converted\n}\n", w.typeName(p.typ.goType), name)
			} else {
				w.printf("%s = &value\n}\n", name)
			}
			w.args = append(w.args, name)
			continue
		}
		w.printf("%s, err := %s\nif err != nil {\nreturn %s, err\n}\n", name, w.read(p), w.fail)
		if p.typ.converted() {
			name = fmt.Sprintf("%s(%s)", w.typeName(p.typ.goType), name)
		}
		w.args = append(w.args, name)
	}
}

// read is the call that reads a parameter.
func (w *serverMethod) read(p param) string {
	reader := p.typ.reader()
	if reader == "" {
		return fmt.Sprintf("%s.ArgDecode[%s](a, %q)", w.rpc, w.typeName(p.typ.goType), p.wireName)
	}
	if p.typ.form == raw && w.m.way != plain {
		reader = "RawCopy" // the bytes go when this function returns; the method is still at work then
	}
	return fmt.Sprintf("a.%s(%q)", reader, p.wireName)
}

func (w *serverMethod) call() string {
	return fmt.Sprintf("h.%s(%s)", w.m.goName, strings.Join(append([]string{"c"}, w.args...), ", "))
}

// writeCall calls a method that returns its result, and writes that.
func (w *serverMethod) writeCall() {
	switch {
	case w.m.errOnly:
		w.printf("if err := %s; err != nil {\nreturn out, err\n}\n", w.call())
	case w.m.result.form == nothing:
		w.printf("if _, err := %s; err != nil {\nreturn out, err\n}\n", w.call())
	default:
		w.printf("result, err := %s\nif err != nil {\nreturn out, err\n}\n", w.call())
	}
	w.writeResult()
}

// writeResult appends the variable result to out. A nil slice or map is an
// empty one on the wire: a caller that waits for an array gets an array.
func (w *serverMethod) writeResult() {
	t := w.m.result
	appends := func(function, arg string) {
		w.printf("return %s.Append%s(out, %s), nil\n", w.use(w.g.wirePath(), "wire"), function, arg)
	}
	value := func(basic string) string {
		if t.basic == basic && !t.converted() {
			return "result"
		}
		return basic + "(result)"
	}
	switch t.form {
	case nothing:
		w.printf("return %s.AppendNil(out), nil\n", w.use(w.g.wirePath(), "wire"))
	case boolean:
		appends("Bool", value("bool"))
	case integer:
		appends("Int", value("int64"))
	case unsigned:
		appends("Uint", value("uint64"))
	case float:
		if t.basic == "float32" {
			appends("Float32", value("float32"))
		} else {
			appends("Float64", value("float64"))
		}
	case str:
		appends("String", value("string"))
	case bin:
		if isBytes(t.goType) {
			appends("Bytes", "result")
			return
		}
		w.writeComposite("Bytes", "nil")
	case raw:
		w.printf("if len(result) == 0 {\nreturn %s.AppendNil(out), nil\n}\nreturn append(out, result...), nil\n", w.use(w.g.wirePath(), "wire"))
	case list:
		w.writeComposite("Array", "0")
	case dict:
		w.writeComposite("Map", "0")
	case object, anything:
		w.printf("return %s.AppendValue(out, result)\n", w.rpc)
	}
}

// writeComposite appends a slice or map, and an empty one for nil.
func (w *serverMethod) writeComposite(function, empty string) {
	w.printf("if result == nil {\nreturn %s.Append%s(out, %s), nil\n}\n", w.use(w.g.wirePath(), "wire"), function, empty)
	w.printf("return %s.AppendValue(out, result)\n", w.rpc)
}

// wiringFile is wiring_gen.go: every area with its dependencies.
func (g *generator) wiringFile() ([]byte, error) {
	c := newCode(g.parts.Path(), g.parts.Name(), append(g.parts.Scope().Names(), "p", "all")...)
	rpc := c.use(g.rpcPath(), "rpc")
	c.printf("// Methods are the remote procedures of all areas, each built from the parts in p.\n")
	c.printf("func Methods(p *Parts) []%s.Method {\nvar all []%s.Method\n", rpc, rpc)
	for _, a := range g.areas {
		pkg := c.use(a.source.path, a.source.types.Name())
		args := make([]string, len(a.parts))
		for i, field := range a.parts {
			args[i] = "p." + field
		}
		c.printf("all = append(all, %s.Methods(%s.New(%s))...)\n", pkg, pkg, strings.Join(args, ", "))
	}
	c.printf("return all\n}\n")
	return c.bytes()
}
