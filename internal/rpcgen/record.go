package rpcgen

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
)

// recordType is the type of a named struct. Its record is made once, so that a
// struct may contain itself through a slice, map or pointer.
func (g *generator) recordType(named *types.Named, s *types.Struct, at place) *wireType {
	w := &wireType{form: object, goType: named}
	if r, known := g.records[named]; known {
		w.record = r
		return w
	}
	docs := g.typeDocs(named.Obj())
	r := &record{named: named, doc: docs.doc}
	g.records[named] = r
	w.record = r
	names := make(map[string]string)
	for i := range s.NumFields() {
		v := s.Field(i)
		f, ok := g.readField(named, v, s.Tag(i))
		if !ok {
			continue
		}
		if other, taken := names[f.wireName]; taken {
			g.problem(v.Pos(), fmt.Sprintf("the fields %s and %s of %s have the same name on the wire, %q", other, v.Name(), shortType(named), f.wireName))
			continue
		}
		names[f.wireName] = v.Name()
		f.doc = docs.fields[v.Name()]
		r.fields = append(r.fields, f)
	}
	return w
}

// readField reads one field; ok is false when it is not sent, or cannot be.
func (g *generator) readField(named *types.Named, v *types.Var, tag string) (f field, ok bool) {
	at := place{v.Pos(), fmt.Sprintf("field %s of %s", v.Name(), shortType(named))}
	name, options, _ := strings.Cut(reflect.StructTag(tag).Get("msgpack"), ",")
	switch {
	case name == "-":
		return f, false
	case v.Name() == "_msgpack":
		g.refuse(at, "%s changes how the struct is encoded: structs on the wire are maps", shortType(named))
		return f, false
	case v.Embedded():
		g.refuse(at, "%s is embedded: give it a name", at.what)
		return f, false
	case !v.Exported():
		return f, false
	}
	f = field{goName: v.Name(), wireName: name, tag: tag}
	if name == "" {
		f.wireName = v.Name()
	}
	if options != "" {
		for _, option := range strings.Split(options, ",") {
			if option != "omitempty" {
				g.refuse(at, "%s has the msgpack option %q: only omitempty is supported", at.what, option)
				return f, false
			}
		}
	}
	f.typ = g.partType(v.Type(), at, nil)
	return f, f.typ != nil
}

// typeDoc is what the source says about a struct.
type typeDoc struct {
	doc    string
	fields map[string]string
}

// typeDocs reads the comments of a type of this module.
func (g *generator) typeDocs(obj *types.TypeName) typeDoc {
	path := obj.Pkg().Path()
	docs, read := g.docs[path]
	if !read {
		docs = g.readDocs(g.abs(strings.TrimPrefix(strings.TrimPrefix(path, g.module), "/")))
		g.docs[path] = docs
	}
	return docs[obj.Name()]
}

// readDocs reads the comments of the types in a folder. They are for people
// only, so a file that cannot be read is no problem here.
func (g *generator) readDocs(dir string) map[string]typeDoc {
	docs := make(map[string]typeDoc)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			continue
		}
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				continue
			}
			for _, spec := range decl.Specs {
				readTypeDoc(docs, decl, spec.(*ast.TypeSpec))
			}
		}
	}
	return docs
}

func readTypeDoc(docs map[string]typeDoc, decl *ast.GenDecl, spec *ast.TypeSpec) {
	s, ok := spec.Type.(*ast.StructType)
	if _, known := docs[spec.Name.Name]; known || !ok {
		return
	}
	d := typeDoc{doc: commentText(spec.Doc, spec.Comment), fields: make(map[string]string)}
	if d.doc == "" && len(decl.Specs) == 1 {
		d.doc = commentText(decl.Doc)
	}
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			d.fields[name.Name] = commentText(f.Doc, f.Comment)
		}
	}
	docs[spec.Name.Name] = d
}

// commentText is the text of the first comment that is there.
func commentText(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g != nil {
			return strings.TrimSpace(g.Text())
		}
	}
	return ""
}

// nameRecords chooses the names of the structs' copies in the typed client, and
// finds those that would have the same.
func (g *generator) nameRecords() {
	taken := map[string]string{"API": "the typed client itself", "New": "the typed client itself"}
	for _, a := range g.areas {
		if other, found := taken[a.clientType()]; found {
			g.problem(a.source.files[0].Name.Pos(), fmt.Sprintf("the area %s and %s would both be api.%s in the typed client: rename one", a.name, other, a.clientType()))
		}
		taken[a.clientType()] = "the methods of the area " + a.name
	}
	for _, r := range g.sortedRecords() {
		obj := r.named.Obj()
		r.clientName = clientName(obj.Pkg().Name(), obj.Name(), obj.Pkg().Path() == g.rpcPath())
		if other, found := taken[r.clientName]; found {
			g.problem(obj.Pos(), fmt.Sprintf("%s and %s would both be api.%s in the typed client: rename one", shortType(r.named), other, r.clientName))
			continue
		}
		taken[r.clientName] = fmt.Sprintf("%s at %s", shortType(r.named), g.position(obj.Pos()))
	}
}

// clientName is the name of a struct's copy in the typed client: its package's
// name comes first, unless it is there already, so that a new area does not
// change the names of another.
func clientName(pkg, name string, bare bool) string {
	prefix := upperCamel(pkg)
	if bare || strings.HasPrefix(name, prefix) {
		return name
	}
	return prefix + name
}

// sortedRecords are all structs, by package and name.
func (g *generator) sortedRecords() []*record {
	var all []*record
	for _, r := range g.records {
		all = append(all, r)
	}
	sort.Slice(all, func(i, j int) bool { return recordKey(all[i]) < recordKey(all[j]) })
	return all
}

func recordKey(r *record) string { return r.named.Obj().Pkg().Path() + "\x00" + r.named.Obj().Name() }

// areaRecords are the structs whose copies stand with an area in the client:
// those that its methods use and no area before it does.
func (g *generator) areaRecords() map[*area][]*record {
	placed := make(map[*record]bool)
	out := make(map[*area][]*record)
	for _, a := range g.areas {
		var visit func(t *wireType)
		visit = func(t *wireType) {
			if t.elem != nil {
				visit(t.elem)
			}
			if t.record == nil || placed[t.record] {
				return
			}
			placed[t.record] = true
			out[a] = append(out[a], t.record)
			for _, f := range t.record.fields {
				visit(f.typ)
			}
		}
		for _, m := range a.methods {
			for _, p := range m.params {
				visit(p.typ)
			}
			visit(m.result)
		}
		slices.SortFunc(out[a], func(x, y *record) int { return strings.Compare(x.clientName, y.clientName) })
	}
	return out
}
