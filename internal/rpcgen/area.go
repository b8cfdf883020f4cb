package rpcgen

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// area is one folder of handlers.
type area struct {
	name    string // the folder's name: the first part of the wire names
	source  *source
	methods []*method
	new     *types.Func
	parts   []string // the fields of Parts that New is called with
}

const (
	handlersType = "Handlers"
	newFunc      = "New"
	partsType    = "Parts"
	methodsFunc  = "Methods" // what each generated file defines
)

var areaName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// readArea finds what a package below the handlers folder offers.
func (g *generator) readArea(s *source) {
	if s.broken {
		return
	}
	scope := s.types.Scope()
	handlers, isType := scope.Lookup(handlersType).(*types.TypeName)
	if !isType {
		g.withoutHandlers(s)
		return
	}
	if strings.Contains(s.folder, "/") {
		g.problem(handlers.Pos(), fmt.Sprintf("an area is a folder directly in %s: move %s there, or name the type otherwise", g.config.Handlers, s.folder))
		return
	}
	named, ok := handlers.Type().(*types.Named)
	if !ok || named.TypeParams().Len() > 0 || handlers.IsAlias() {
		g.problem(handlers.Pos(), "Handlers must be a type of its own, without type parameters")
		return
	}
	if !areaName.MatchString(s.folder) {
		g.problem(handlers.Pos(), fmt.Sprintf("the folder's name %q begins the wire names of its methods, so it must have only letters, digits and '_', and begin with a letter", s.folder))
		return
	}
	a := &area{name: s.folder, source: s}
	g.readNew(a, named)
	g.readMethods(a, named)
	if taken := scope.Lookup(methodsFunc); taken != nil {
		g.problem(taken.Pos(), "the name Methods is needed for the generated code of an area: choose another")
	}
	if g.parts != nil && slices.Contains(s.types.Imports(), g.parts) {
		g.problem(s.files[0].Name.Pos(), fmt.Sprintf("imports %s, which imports every area: take what is needed as a parameter of New", g.parts.Path()))
	}
	g.areas = append(g.areas, a)
}

// withoutHandlers says why a folder that looks like an area is none. A folder of
// helpers is nothing to say anything about.
func (g *generator) withoutHandlers(s *source) {
	scope := s.types.Scope()
	if fn, ok := scope.Lookup(newFunc).(*types.Func); ok {
		g.problem(fn.Pos(), "the folder has a New but no type Handlers: an area needs `type Handlers struct{...}`, whose methods are called, and `func New(...) *Handlers`")
		return
	}
	for _, f := range s.files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Name.IsExported() && g.takesCall(s, fn) {
				g.problem(fn.Name.Pos(), fmt.Sprintf("%s takes a *rpc.Call, but the folder has no type Handlers: an area needs `type Handlers struct{...}` with the methods that are called, and `func New(...) *Handlers`", fn.Name.Name))
				return
			}
		}
	}
	g.strayDirectives(s, nil)
}

func (g *generator) takesCall(s *source, decl *ast.FuncDecl) bool {
	params := decl.Type.Params.List
	if len(params) == 0 {
		return false
	}
	fn, ok := g.object(s, decl.Name).(*types.Func)
	return ok && g.isCall(fn.Signature().Params().At(0).Type())
}

// object is what a declared name means.
func (g *generator) object(s *source, name *ast.Ident) types.Object { return s.info.Defs[name] }

// isCall reports whether t is *rpc.Call.
func (g *generator) isCall(t types.Type) bool {
	ptr, ok := types.Unalias(t).(*types.Pointer)
	return ok && g.isNamed(ptr.Elem(), g.rpcPath(), "Call")
}

// isNamed reports whether t is the named type path.name.
func (g *generator) isNamed(t types.Type, path, name string) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Name() == name && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == path
}

// readNew checks the area's New.
func (g *generator) readNew(a *area, handlers *types.Named) {
	const want = "an area needs `func New(...) *Handlers`"
	obj := a.source.types.Scope().Lookup(newFunc)
	fn, ok := obj.(*types.Func)
	switch {
	case obj == nil:
		g.problem(handlers.Obj().Pos(), "the folder has no New: "+want)
		return
	case !ok:
		g.problem(obj.Pos(), "New is not a function: "+want)
		return
	}
	sig := fn.Signature()
	if sig.TypeParams().Len() > 0 {
		g.problem(fn.Pos(), "New has type parameters: "+want)
		return
	}
	if sig.Results().Len() != 1 || !types.Identical(sig.Results().At(0).Type(), types.NewPointer(handlers)) {
		g.problem(fn.Pos(), fmt.Sprintf("New returns %s: %s", results(sig), want))
	}
	if sig.Variadic() {
		g.problem(sig.Params().At(sig.Params().Len()-1).Pos(), "New is variadic, and what to pass cannot be told from a type: take a slice")
		return
	}
	a.new = fn
}

// results is a signature's results as the source has them.
func results(sig *types.Signature) string {
	if sig.Results().Len() == 0 {
		return "nothing"
	}
	var names []string
	for v := range sig.Results().Variables() {
		names = append(names, shortType(v.Type()))
	}
	if len(names) == 1 {
		return names[0]
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// shortType is a type as one reads it in the source: packages by name.
func shortType(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string { return p.Name() })
}

// matchParts finds, for each parameter of each New, the field of Parts that it
// is called with.
func (g *generator) matchParts() {
	if g.parts == nil {
		if len(g.problems) == 0 {
			g.problemAt(token.Position{Filename: g.config.Handlers}, "the folder has no package with a type Parts, whose fields are what New of an area can ask for")
		}
		return
	}
	if taken := g.parts.Scope().Lookup(methodsFunc); taken != nil {
		g.problem(taken.Pos(), "the name Methods is needed for the generated wiring: choose another")
	}
	obj := g.parts.Scope().Lookup(partsType)
	if obj == nil {
		g.problemAt(token.Position{Filename: g.config.Handlers}, "package "+g.parts.Name()+" has no type Parts, whose fields are what New of an area can ask for")
		return
	}
	fields, ok := obj.Type().Underlying().(*types.Struct)
	if !ok {
		g.problem(obj.Pos(), "Parts must be a struct: its fields are what New of an area can ask for")
		return
	}
	for _, a := range g.areas {
		if a.new == nil {
			continue
		}
		for param := range a.new.Signature().Params().Variables() {
			if field := g.matchPart(param, fields); field != "" {
				a.parts = append(a.parts, field)
			}
		}
	}
}

func (g *generator) matchPart(param *types.Var, parts *types.Struct) string {
	var fits, all []string
	for f := range parts.Fields() {
		if types.AssignableTo(f.Type(), param.Type()) {
			fits = append(fits, f.Name())
		}
		all = append(all, f.Name()+" "+shortType(f.Type()))
	}
	name := "a parameter"
	if param.Name() != "" && param.Name() != "_" {
		name = "parameter " + param.Name()
	}
	switch len(fits) {
	case 1:
		return fits[0]
	case 0:
		g.problem(param.Pos(), fmt.Sprintf("New wants %s of type %s, and no field of handlers.Parts has it: Parts has %s", name, shortType(param.Type()), cmp.Or(strings.Join(all, ", "), "no fields")))
	default:
		g.problem(param.Pos(), fmt.Sprintf("New wants %s of type %s, and several fields of handlers.Parts fit: %s", name, shortType(param.Type()), strings.Join(fits, ", ")))
	}
	return ""
}

// checkNames finds wire names that two methods have, and sorts what was found.
func (g *generator) checkNames() {
	sort.Slice(g.areas, func(i, j int) bool { return g.areas[i].name < g.areas[j].name })
	first := make(map[string]*method)
	for _, a := range g.areas {
		for _, m := range a.methods { // still in the order of the source
			other, taken := first[m.wireName]
			if !taken {
				first[m.wireName] = m
				continue
			}
			const text = "the wire name %q is taken: %s at %s has it too"
			g.problem(m.pos, fmt.Sprintf(text, m.wireName, other.place(), g.position(other.pos)))
			g.problem(other.pos, fmt.Sprintf(text, m.wireName, m.place(), g.position(m.pos)))
		}
		sort.SliceStable(a.methods, func(i, j int) bool { return a.methods[i].wireName < a.methods[j].wireName })
	}
}
