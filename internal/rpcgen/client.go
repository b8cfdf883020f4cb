package rpcgen

import (
	"fmt"
	"strings"
)

// clientType is the type in the typed client that has the area's methods.
func (a *area) clientType() string { return upperCamel(a.name) + "Client" }

const clientDoc = `Package api is the typed Go client: a method for each of the server's, with its
parameters and result as Go types, over package client. It is written by rpcgen
from the handlers and has no behaviour of its own.`

// clientRootFile is client/api/api_gen.go: the areas together.
func (g *generator) clientRootFile(pkg string) ([]byte, error) {
	c := newCode(g.module+"/"+g.config.Client, pkg)
	c.doc = clientDoc
	client := c.use(g.clientPath(), "client")
	c.printf("// API has the server's methods by area. Any goroutine.\ntype API struct {\n")
	for _, a := range g.areas {
		c.printf("%s %s\n", upperCamel(a.name), a.clientType())
	}
	c.printf("}\n\n// New returns the methods of the server that c talks to.\nfunc New(c *%s.Client) API {\nreturn API{\n", client)
	for _, a := range g.areas {
		c.printf("%s: %s{c},\n", upperCamel(a.name), a.clientType())
	}
	c.printf("}\n}\n")
	return c.bytes()
}

// clientFile is an area's part of the typed client.
func (g *generator) clientFile(pkg string, a *area, records []*record) ([]byte, error) {
	c := newCode(g.module+"/"+g.config.Client, pkg, "c", "ctx", "result", "err")
	client := c.use(g.clientPath(), "client")
	typ := a.clientType()
	c.printf("// %s calls the methods of the area %s. Any goroutine.\ntype %s struct{ c *%s.Client }\n", typ, a.name, typ, client)
	for _, m := range a.methods {
		g.clientMethod(c, m)
	}
	for _, r := range records {
		g.clientRecord(c, r)
	}
	return c.bytes()
}

// clientMethod writes one method of the typed client.
func (g *generator) clientMethod(c *code, m *method) {
	names := newLocals("c", "ctx", "result", "err", "context", "client", "wire")
	params := []string{"ctx " + c.use("context", "context") + ".Context"}
	args := []string{"ctx", fmt.Sprintf("%q", m.wireName)}
	target := "nil"
	if m.result.form != nothing {
		target = "&result"
	}
	args = append(args, target)
	for _, p := range m.params {
		name := names.name(p.goName)
		typ := g.clientGoType(c, p.typ)
		if p.optional {
			typ = "*" + typ
		}
		params = append(params, name+" "+typ)
		args = append(args, name)
	}
	call := fmt.Sprintf("c.c.Call(%s)", strings.Join(args, ", "))
	c.printf("\n%s", comment(clientMethodDoc(m)))
	c.printf("func (c %s) %s(%s) ", m.area.clientType(), m.goName, strings.Join(params, ", "))
	if m.result.form == nothing {
		c.printf("error {\nreturn %s\n}\n", call)
		return
	}
	typ := g.clientGoType(c, m.result)
	c.printf("(%s, error) {\nvar result %s\nerr := %s\nreturn result, err\n}\n", typ, typ, call)
}

// clientMethodDoc is the handler's own doc, and what it does not say.
func clientMethodDoc(m *method) string {
	doc := fmt.Sprintf("%s calls %s", m.goName, m.wireName)
	if m.doc != "" {
		doc = m.doc + "\n\nIt calls " + m.wireName
	}
	var optional []string
	for _, p := range m.params {
		if p.optional {
			optional = append(optional, p.goName)
		}
	}
	if len(optional) > 0 {
		doc += "; nil leaves out " + strings.Join(optional, ", ")
	}
	return doc + "."
}

// clientRecord writes the copy of a struct.
func (g *generator) clientRecord(c *code, r *record) {
	doc := r.doc
	if name := r.named.Obj().Name(); name != r.clientName {
		if rest, ok := strings.CutPrefix(doc, name+" "); ok {
			doc = r.clientName + " " + rest
		}
	}
	if doc == "" {
		doc = fmt.Sprintf("%s is a copy of the server's %s.", r.clientName, shortType(r.named))
	}
	c.printf("\n%stype %s struct {\n", comment(doc), r.clientName)
	for _, f := range r.fields {
		tag := ""
		if f.tag != "" {
			tag = " `" + f.tag + "`"
		}
		if strings.Contains(f.tag, "`") {
			tag = fmt.Sprintf(" %q", f.tag)
		}
		end := "\n"
		if strings.Contains(f.doc, "\n") {
			c.printf("%s", comment(f.doc))
		} else if f.doc != "" {
			end = " // " + f.doc + "\n"
		}
		c.printf("%s %s%s%s", f.goName, g.clientGoType(c, f.typ), tag, end)
	}
	c.printf("}\n")
}

// clientGoType is t in the typed client: structs by their copies, other named
// types by what is beneath them.
func (g *generator) clientGoType(c *code, t *wireType) string {
	typ := ""
	switch t.form {
	case boolean, integer, unsigned, float, str:
		typ = t.basic
	case bin:
		typ = "[]byte"
	case raw:
		typ = c.use(g.wirePath(), "wire") + ".Raw"
	case anything:
		typ = "any"
	case list:
		typ = "[]" + g.clientGoType(c, t.elem)
	case dict:
		typ = "map[string]" + g.clientGoType(c, t.elem)
	case object:
		typ = t.record.clientName
	}
	if t.nullable {
		return "*" + typ
	}
	return typ
}
