package rpcgen

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"
	"unicode"
)

// method is one remote procedure.
type method struct {
	area     *area
	goName   string
	wireName string
	doc      string // the whole comment without directives
	pos      token.Pos
	params   []param
	result   *wireType // form nothing when it answers nil
	errOnly  bool      // returns only an error
	way      way

	public, concurrent, durable, waits bool
}

// way is how a method runs: which of the three functions of rpc.Method it gets.
type way uint8

const (
	plain    way = iota // returns its result: Sync
	future              // returns a future: Async
	blocking            // returns its result, on a worker: Blocking
)

// param is one parameter on the wire.
type param struct {
	goName   string
	wireName string
	typ      *wireType // of the value; without the pointer of an optional one
	optional bool
}

// place is the method as its author knows it: "room.Handlers.Join".
func (m *method) place() string { return m.area.name + ".Handlers." + m.goName }

// summary is the first paragraph of the doc, in one line.
func (m *method) summary() string {
	first, _, _ := strings.Cut(m.doc, "\n\n")
	return strings.Join(strings.Fields(first), " ")
}

// required is how many params must be there.
func (m *method) required() int {
	n := 0
	for _, p := range m.params {
		if !p.optional {
			n++
		}
	}
	return n
}

// readMethods finds the handlers of an area.
func (g *generator) readMethods(a *area, handlers *types.Named) {
	read := make(map[token.Pos]bool)
	for _, f := range a.source.files {
		for _, d := range f.Decls {
			decl, ok := d.(*ast.FuncDecl)
			if !ok || decl.Recv == nil {
				continue
			}
			fn, ok := g.object(a.source, decl.Name).(*types.Func)
			if ok && receiver(fn) == handlers.Obj() {
				g.readDecl(a, decl, fn, read)
			}
		}
	}
	g.strayDirectives(a.source, read)
	g.promotedMethods(handlers)
	if len(a.methods) == 0 && !g.sawMethods(a.source, handlers) {
		g.problem(handlers.Obj().Pos(), "Handlers has no handler: an exported method whose first parameter is *rpc.Call")
	}
}

// receiver is the type that a method is declared on.
func receiver(fn *types.Func) *types.TypeName {
	t := fn.Signature().Recv().Type()
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	if named, ok := t.(*types.Named); ok {
		return named.Obj()
	}
	return nil
}

// sawMethods reports whether Handlers has handlers at all, with problems or not.
func (g *generator) sawMethods(s *source, handlers *types.Named) bool {
	for fn := range handlers.Methods() {
		if params := fn.Signature().Params(); fn.Exported() && params.Len() > 0 && g.isCall(params.At(0).Type()) {
			return true
		}
	}
	return false
}

// promotedMethods tells of handlers that Handlers has only by embedding: they
// have no source of their own in the area.
func (g *generator) promotedMethods(handlers *types.Named) {
	set := types.NewMethodSet(types.NewPointer(handlers))
	for sel := range set.Methods() {
		fn, ok := sel.Obj().(*types.Func)
		if !ok || len(sel.Index()) == 1 || !fn.Exported() {
			continue
		}
		if params := fn.Signature().Params(); params.Len() > 0 && g.isCall(params.At(0).Type()) {
			g.problem(handlers.Obj().Pos(), fmt.Sprintf("Handlers has the handler %s by embedding: declare a method of Handlers that calls it", fn.Name()))
		}
	}
}

// readDecl reads one method of Handlers, if it is a handler.
func (g *generator) readDecl(a *area, decl *ast.FuncDecl, fn *types.Func, read map[token.Pos]bool) {
	sig := fn.Signature()
	first := types.Type(types.Typ[types.Invalid])
	if sig.Params().Len() > 0 {
		first = sig.Params().At(0).Type()
	}
	switch {
	case !fn.Exported():
		return
	case g.isNamed(first, g.rpcPath(), "Call"):
		g.problem(sig.Params().At(0).Pos(), fmt.Sprintf("the first parameter of %s is an rpc.Call: a handler takes a pointer, *rpc.Call", fn.Name()))
		return
	case !g.isCall(first):
		g.notes = append(g.notes, Problem{g.position(fn.Pos()),
			fmt.Sprintf("%s is not served: the first parameter of a handler is *rpc.Call", fn.Name())})
		return
	}
	d := g.readDirectives(decl.Doc, read)
	m := &method{
		area: a, goName: fn.Name(), pos: fn.Pos(), wireName: a.name + "." + lowerCamel(fn.Name()),
		doc:    strings.TrimSpace(decl.Doc.Text()),
		public: d.public, concurrent: d.concurrent, durable: d.durable, waits: d.waits,
	}
	if d.blocking {
		m.way = blocking
	}
	if d.name != "" {
		m.wireName = d.name
	} else if reason := badName(m.wireName); reason != "" {
		g.problem(m.pos, fmt.Sprintf("the wire name %q %s: give it one with //rpc:name", m.wireName, reason))
	}
	ok := g.readParams(m, sig)
	if !g.readResults(m, decl, sig) || !ok {
		return
	}
	if m.waits && m.way == plain {
		g.problem(m.pos, fmt.Sprintf("%s is marked //rpc:waits and answers at once: what waits for a client returns a future, or is //rpc:blocking", m.goName))
		return
	}
	a.methods = append(a.methods, m)
}

// readParams reads all parameters after the call.
func (g *generator) readParams(m *method, sig *types.Signature) bool {
	ok := true
	vars := sig.Params()
	if sig.Variadic() {
		g.problem(vars.At(vars.Len()-1).Pos(), fmt.Sprintf("%s is variadic, which the wire has no form for: take a slice", m.goName))
		ok = false
	}
	var optional *types.Var
	for i := 1; i < vars.Len(); i++ {
		v := vars.At(i)
		if v.Name() == "" || v.Name() == "_" {
			g.problem(v.Pos(), fmt.Sprintf("parameter %d of %s needs a name: error messages and the API page use it", i, m.goName))
			ok = false
			continue
		}
		if sig.Variadic() && i == vars.Len()-1 {
			continue
		}
		p := param{goName: v.Name(), wireName: snake(v.Name())}
		t := v.Type()
		if ptr, isPtr := types.Unalias(t).(*types.Pointer); isPtr {
			p.optional, t = true, ptr.Elem()
			optional = v
		} else if optional != nil {
			g.problem(optional.Pos(), fmt.Sprintf("parameter %s of %s is a pointer, so optional, but %s after it is not: only the last parameters can be left out", optional.Name(), m.goName, v.Name()))
			ok, optional = false, nil
		}
		p.typ = g.wireType(t, place{v.Pos(), fmt.Sprintf("parameter %s of %s", v.Name(), m.goName)})
		ok = ok && p.typ != nil
		m.params = append(m.params, p)
	}
	return ok
}

const resultForms = "a handler returns (T, error), error, or *future.Future[T]"

// readResults finds the way that a method runs, and what it answers.
func (g *generator) readResults(m *method, decl *ast.FuncDecl, sig *types.Signature) bool {
	at := decl.Name.Pos()
	if decl.Type.Results != nil {
		at = decl.Type.Results.Pos()
	}
	wrong := func() bool {
		g.problem(at, fmt.Sprintf("%s returns %s: %s", m.goName, results(sig), resultForms))
		return false
	}
	res := sig.Results()
	if res.Len() == 1 {
		t := types.Unalias(res.At(0).Type())
		if isError(t) {
			m.errOnly, m.result = true, &wireType{form: nothing}
			return true
		}
		ptr, ok := t.(*types.Pointer)
		if !ok || !g.isNamed(ptr.Elem(), g.futurePath(), "Future") {
			return wrong()
		}
		if m.way == blocking {
			g.problem(at, fmt.Sprintf("%s is marked //rpc:blocking and returns a future: a blocking method runs on a worker, so it waits there and returns (T, error)", m.goName))
			return false
		}
		m.way = future
		return g.readResult(m, at, types.Unalias(ptr.Elem()).(*types.Named).TypeArgs().At(0))
	}
	if res.Len() != 2 || !isError(types.Unalias(res.At(1).Type())) {
		return wrong()
	}
	return g.readResult(m, at, res.At(0).Type())
}

func (g *generator) readResult(m *method, at token.Pos, t types.Type) bool {
	if isError(types.Unalias(t)) {
		g.problem(at, fmt.Sprintf("the result of %s is an error that would be sent as a value: %s", m.goName, resultForms))
		return false
	}
	if ptr, ok := types.Unalias(t).(*types.Pointer); ok {
		if g.isNamed(ptr.Elem(), g.futurePath(), "Future") {
			g.problem(at, fmt.Sprintf("%s returns a future and an error: return future.Failed for the error", m.goName))
		} else {
			g.problem(at, fmt.Sprintf("the result of %s is a pointer: return the value, %s", m.goName, shortType(ptr.Elem())))
		}
		return false
	}
	if s, ok := types.Unalias(t).(*types.Struct); ok && s.NumFields() == 0 {
		m.result = &wireType{form: nothing, goType: t}
		return true
	}
	m.result = g.wireType(t, place{at, "the result of " + m.goName})
	return m.result != nil
}

func isError(t types.Type) bool { return types.Identical(t, types.Universe.Lookup("error").Type()) }

// lowerCamel is a Go name as the second part of a wire name: Top is top,
// HTTPGet httpGet.
func lowerCamel(name string) string {
	r := []rune(name)
	for i := range r {
		if !unicode.IsUpper(r[i]) || i > 0 && i+1 < len(r) && unicode.IsLower(r[i+1]) {
			break
		}
		r[i] = unicode.ToLower(r[i])
	}
	return string(r)
}

// snake is a Go name as the wire has names: ifVersion is if_version, fromUID
// from_uid.
func snake(name string) string {
	r := []rune(name)
	var b strings.Builder
	for i := range r {
		if i > 0 && unicode.IsUpper(r[i]) && r[i-1] != '_' &&
			(!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r[i]))
	}
	return b.String()
}

// upperCamel is a wire or folder name as part of a Go name: daily_reward is
// DailyReward.
func upperCamel(name string) string {
	var b strings.Builder
	up := true
	for _, r := range name {
		switch {
		case r == '_' || r == '.':
			up = true
		case up:
			b.WriteRune(unicode.ToUpper(r))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
