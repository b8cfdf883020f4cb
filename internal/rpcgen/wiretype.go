package rpcgen

import (
	"fmt"
	"go/token"
	"go/types"
	"strings"
)

// form is what a Go type is on the wire.
type form uint8

const (
	nothing  form = iota // nil
	boolean              // bool
	integer              // int
	unsigned             // uint
	float                // float
	str                  // str
	bin                  // bin
	raw                  // any value, as its bytes
	anything             // any value, decoded
	list                 // array
	dict                 // map with string keys
	object               // map with the fields of a struct
)

// wireType is a type of a parameter, a result, or a part of one.
type wireType struct {
	form     form
	goType   types.Type
	basic    string // int8, string, ...: the basic type beneath, of boolean to str
	elem     *wireType
	record   *record
	nullable bool // a pointer inside a struct, slice or map
}

// record is a struct that crosses the wire.
type record struct {
	named      *types.Named
	fields     []field
	doc        string
	clientName string // what its copy in the typed client is called
}

// field is one field of a record.
type field struct {
	goName   string
	wireName string
	tag      string // the whole struct tag
	doc      string
	typ      *wireType
}

// place is where a type stands, for problems.
type place struct {
	pos  token.Pos
	what string // "parameter x of Sum"
}

// reader is the method of rpc.Args that reads a parameter of the type; "" when
// it is decoded through msgpack/v5.
func (t *wireType) reader() string {
	switch t.form {
	case boolean, integer, unsigned, float, str:
		return strings.ToUpper(t.basic[:1]) + t.basic[1:]
	case bin:
		if isBytes(t.goType) {
			return "Bytes"
		}
	case raw:
		return "Raw"
	}
	return ""
}

// converted reports whether a value of the type needs a conversion from and to the
// basic type beneath.
func (t *wireType) converted() bool {
	switch t.form {
	case boolean, integer, unsigned, float, str, bin:
		_, named := types.Unalias(t.goType).(*types.Named)
		return named
	}
	return false
}

// isBytes reports whether values of t and []byte convert into each other.
func isBytes(t types.Type) bool {
	return types.Identical(t.Underlying(), types.NewSlice(types.Typ[types.Uint8]))
}

// ownEncoding are the methods with which a type tells msgpack/v5 to encode it
// otherwise. The typed client's copies have no methods.
var ownEncoding = []string{
	"EncodeMsgpack", "DecodeMsgpack", "MarshalMsgpack", "UnmarshalMsgpack",
	"MarshalBinary", "UnmarshalBinary", "MarshalText", "UnmarshalText",
}

// wireType finds what t is on the wire; nil, with the problem noted, when it
// has no form there.
func (g *generator) wireType(t types.Type, at place) *wireType {
	return g.typeOf(t, at, nil)
}

// typeOf is wireType inside the named types in within, which hold t without a
// struct between.
func (g *generator) typeOf(t types.Type, at place, within []*types.Named) *wireType {
	t = types.Unalias(t)
	named, isNamed := t.(*types.Named)
	if isNamed {
		switch {
		case g.isNamed(t, g.wirePath(), "Raw"):
			return &wireType{form: raw, goType: t}
		case types.IsInterface(named) && !isError(named):
			return g.refuse(at, "%s is the interface %s, and of interfaces only any can be sent", at.what, shortType(t))
		case !g.checkNamed(named, at):
			return nil
		}
		for _, outer := range within {
			if outer == named {
				return g.refuse(at, "%s has type %s, which contains itself without end", at.what, shortType(t))
			}
		}
		if s, ok := named.Underlying().(*types.Struct); ok {
			return g.recordType(named, s, at)
		}
		within = append(within, named)
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return g.basicType(t, u, at)
	case *types.Slice:
		if elem, ok := types.Unalias(u.Elem()).Underlying().(*types.Basic); ok && elem.Kind() == types.Uint8 {
			return &wireType{form: bin, goType: t}
		}
		return g.container(list, t, u.Elem(), at, within)
	case *types.Map:
		if key, ok := u.Key().Underlying().(*types.Basic); !ok || key.Kind() != types.String {
			return g.refuse(at, "%s is a map with keys of type %s: keys on the wire are strings", at.what, shortType(u.Key()))
		}
		if key, ok := types.Unalias(u.Key()).(*types.Named); ok && !g.checkNamed(key, at) {
			return nil
		}
		return g.container(dict, t, u.Elem(), at, within)
	case *types.Interface:
		if u.Empty() {
			return &wireType{form: anything, goType: t}
		}
		return g.refuse(at, "%s is the interface %s, and of interfaces only any can be sent", at.what, shortType(t))
	}
	return g.refuseKind(t, at)
}

// refuseKind says of a type without a form on the wire why, by its kind.
func (g *generator) refuseKind(t types.Type, at place) *wireType {
	switch t.Underlying().(type) {
	case *types.Struct:
		return g.refuse(at, "%s is a struct without a name: declare a type for it", at.what)
	case *types.Pointer:
		return g.refuse(at, "%s has type %s: of pointers only one to the type of a last parameter, which makes it optional, or to that of a field can be sent", at.what, shortType(t))
	case *types.Array:
		return g.refuse(at, "%s is an array, %s: take a slice", at.what, shortType(t))
	case *types.Chan:
		return g.refuse(at, "%s is a channel, which cannot be sent", at.what)
	case *types.Signature:
		return g.refuse(at, "%s is a function, which cannot be sent", at.what)
	default:
		return g.refuse(at, "%s has type %s, which cannot be sent", at.what, shortType(t))
	}
}

func (g *generator) refuse(at place, format string, args ...any) *wireType {
	g.problem(at.pos, fmt.Sprintf(format, args...))
	return nil
}

// checkNamed holds what every named type must fulfil to be sent.
func (g *generator) checkNamed(named *types.Named, at place) bool {
	obj, name := named.Obj(), shortType(named)
	switch {
	case obj.Pkg() == nil: // error
		g.refuse(at, "%s is an error, which is no value to send: say it with a string or a code", at.what)
	case obj.Pkg().Path() == "time" && obj.Name() == "Time":
		g.refuse(at, "%s is a time.Time: times on the wire are UTC milliseconds, an int64", at.what)
	case obj.Pkg().Path() == "time" && obj.Name() == "Duration":
		g.refuse(at, "%s is a time.Duration: durations on the wire are milliseconds, an int64", at.what)
	case g.isNamed(named, g.futurePath(), "Future"):
		g.refuse(at, "%s is a future, which cannot be sent", at.what)
	case named.TypeArgs().Len() > 0:
		g.refuse(at, "%s has the generic type %s, which the typed client cannot copy: declare a type for it", at.what, name)
	case obj.Pkg().Path() != g.module && !strings.HasPrefix(obj.Pkg().Path(), g.module+"/"):
		g.refuse(at, "%s has type %s, which is not of this module, so the typed client cannot copy it: declare a type for it", at.what, name)
	case !obj.Exported():
		g.refuse(at, "%s has the unexported type %s, which generated code cannot name: export it", at.what, name)
	case obj.Parent() != obj.Pkg().Scope():
		g.refuse(at, "%s has type %s, which is declared in a function: declare it outside", at.what, name)
	default:
		for _, method := range ownEncoding {
			if m, _, _ := types.LookupFieldOrMethod(named, true, obj.Pkg(), method); m != nil {
				g.refuse(at, "%s has type %s, which encodes itself (it has %s), and the typed client cannot copy that", at.what, name, method)
				return false
			}
		}
		return true
	}
	return false
}

func (g *generator) basicType(t types.Type, b *types.Basic, at place) *wireType {
	w := &wireType{goType: t, basic: b.Name()}
	switch b.Kind() { // byte and rune are uint8 and int32
	case types.Uint8:
		w.basic = "uint8"
	case types.Int32:
		w.basic = "int32"
	case types.Uintptr:
		return g.refuse(at, "%s is a uintptr, which cannot be sent", at.what)
	}
	switch info := b.Info(); {
	case info&types.IsBoolean != 0:
		w.form = boolean
	case info&types.IsUnsigned != 0:
		w.form = unsigned
	case info&types.IsInteger != 0:
		w.form = integer
	case info&types.IsFloat != 0:
		w.form = float
	case info&types.IsString != 0:
		w.form = str
	default:
		return g.refuse(at, "%s has type %s, which cannot be sent", at.what, shortType(t))
	}
	return w
}

// container is the type of a slice or map of elem.
func (g *generator) container(f form, t, elem types.Type, at place, within []*types.Named) *wireType {
	at.what = "an element of " + at.what
	e := g.partType(elem, at, within)
	if e == nil {
		return nil
	}
	return &wireType{form: f, goType: t, elem: e}
}

// partType is the type of a part of something: there a pointer is a value that
// may be nil.
func (g *generator) partType(t types.Type, at place, within []*types.Named) *wireType {
	ptr, ok := types.Unalias(t).(*types.Pointer)
	if !ok {
		return g.typeOf(t, at, within)
	}
	w := g.typeOf(ptr.Elem(), at, within)
	if w == nil {
		return nil
	}
	copied := *w
	copied.nullable = true
	return &copied
}

// words is the type as the API page and sys.methods name it. Structs inside of
// themselves are named only.
func (t *wireType) words() string { return t.wordsIn(nil) }

func (t *wireType) wordsIn(within []*record) string {
	words := ""
	switch t.form {
	case nothing:
		words = "nil"
	case boolean:
		words = "bool"
	case integer:
		words = "int"
	case unsigned:
		words = "uint"
	case float:
		words = "float"
	case str:
		words = "str"
	case bin:
		words = "bin"
	case raw, anything:
		words = "any"
	case list:
		words = "array of " + t.elem.wordsIn(within)
	case dict:
		words = "map of " + t.elem.wordsIn(within)
	case object:
		words = t.record.wordsIn(within)
	}
	if t.nullable {
		words += " or nil"
	}
	return words
}

func (r *record) wordsIn(within []*record) string {
	name := r.named.Obj().Name()
	for _, outer := range within {
		if outer == r {
			return name
		}
	}
	within = append(within, r)
	fields := make([]string, len(r.fields))
	for i, f := range r.fields {
		fields[i] = f.wireName + " " + f.typ.wordsIn(within)
	}
	return name + " {" + strings.Join(fields, ", ") + "}"
}
