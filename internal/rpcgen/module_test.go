package rpcgen_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"gameserverd/internal/rpcgen"
)

// module is a Go module of its own in a temporary folder.
type module struct {
	t   *testing.T
	dir string
}

// newModule writes testdata/module.txtar and then the archives in more.
func newModule(t *testing.T, more ...string) *module {
	t.Helper()
	m := &module{t, t.TempDir()}
	for _, name := range append([]string{"module"}, more...) {
		archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			m.write(f.Name, string(f.Data))
		}
	}
	return m
}

func (m *module) write(name, text string) {
	m.t.Helper()
	name = filepath.Join(m.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *module) read(name string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

// replace changes the first old in a file to new.
func (m *module) replace(name, old, new string) {
	m.t.Helper()
	text := m.read(name)
	if !strings.Contains(text, old) {
		m.t.Fatalf("%s has no %q", name, old)
	}
	m.write(name, strings.Replace(text, old, new, 1))
}

func (m *module) exists(name string) bool {
	_, err := os.Stat(filepath.Join(m.dir, name))
	return err == nil
}

// stale is what -check would name.
func (m *module) stale() []string {
	m.t.Helper()
	out, err := rpcgen.Generate(rpcgen.Config{Dir: m.dir})
	if err != nil {
		m.t.Fatal(err)
	}
	stale, err := out.Stale()
	if err != nil {
		m.t.Fatal(err)
	}
	return stale
}

// generate brings everything up to date and returns what changed.
func (m *module) generate() []string {
	m.t.Helper()
	out, err := rpcgen.Generate(rpcgen.Config{Dir: m.dir})
	if err != nil {
		m.t.Fatal(err)
	}
	written, err := out.Write()
	if err != nil {
		m.t.Fatal(err)
	}
	if left := m.stale(); len(left) > 0 {
		m.t.Fatalf("still out of date after writing: %v", left)
	}
	return written
}

// refused is what is said when nothing can be generated.
func (m *module) refused() string {
	m.t.Helper()
	before := m.files()
	_, err := rpcgen.Generate(rpcgen.Config{Dir: m.dir})
	if err == nil {
		m.t.Fatal("it was generated")
	}
	if after := m.files(); !slices.Equal(before, after) {
		m.t.Errorf("files before: %v, after: %v", before, after)
	}
	return err.Error()
}

func (m *module) files() (names []string) {
	err := filepath.WalkDir(m.dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return names
}

var allOfModule = []string{
	"client/api/api_gen.go", "client/api/area_shop_gen.go", "docs/api.md",
	"internal/handlers/shop/rpc_gen.go", "internal/handlers/wiring_gen.go",
}

func wantFiles(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got files %v, want %v", got, want)
	}
}

func TestFirstRunWritesEverything(t *testing.T) {
	m := newModule(t)
	wantFiles(t, m.stale(), allOfModule...)
	wantFiles(t, m.generate(), allOfModule...)
	wantFiles(t, m.generate())
}

const chatArea = `package chat

import "gameserverd/internal/rpc"

// Handlers are the methods of the area.
type Handlers struct{}

// New returns the area's handlers.
func New() *Handlers { return &Handlers{} }

// Say says.
func (h *Handlers) Say(c *rpc.Call, text string) error { return nil }
`

func TestNewAreaNeedsOneRun(t *testing.T) {
	m := newModule(t)
	m.generate()
	m.write("internal/handlers/chat/chat.go", chatArea)
	wantFiles(t, m.generate(),
		"client/api/api_gen.go", "client/api/area_chat_gen.go", "docs/api.md",
		"internal/handlers/chat/rpc_gen.go", "internal/handlers/wiring_gen.go")
	if wiring := m.read("internal/handlers/wiring_gen.go"); !strings.Contains(wiring, "chat.Methods(chat.New())") {
		t.Errorf("the area is not wired:\n%s", wiring)
	}
}

func TestExportedMethodThatIsNotServedIsTold(t *testing.T) {
	m := newModule(t)
	m.write("internal/handlers/dice/dice.go", "package dice\n\nimport \"gameserverd/internal/rpc\"\n\ntype Handlers struct{}\n\nfunc New() *Handlers { return &Handlers{} }\n\n"+
		"func (h *Handlers) Roll(c *rpc.Call) error { return nil }\n\nfunc (h *Handlers) Forgot(dice int) error { return nil }\n")
	out, err := rpcgen.Generate(rpcgen.Config{Dir: m.dir})
	if err != nil {
		t.Fatal(err)
	}
	const want = "internal/handlers/dice/dice.go:11:20: Forgot is not served: the first parameter of a handler is *rpc.Call"
	if out.Notes.Error() != want {
		t.Errorf("the notes are %q, want %q", out.Notes.Error(), want)
	}
}

func TestRenamedMethodNeedsOneRun(t *testing.T) {
	m := newModule(t)
	m.generate()
	m.replace("internal/handlers/shop/shop.go", "// Buy buys.\nfunc (h *Handlers) Buy(", "// Sell sells.\nfunc (h *Handlers) Sell(")
	wantFiles(t, m.generate(), "client/api/area_shop_gen.go", "docs/api.md", "internal/handlers/shop/rpc_gen.go")
	if code := m.read("internal/handlers/shop/rpc_gen.go"); !strings.Contains(code, "h.Sell(") || strings.Contains(code, "h.Buy(") {
		t.Errorf("the old name is still called:\n%s", code)
	}
}

func TestChangedNewNeedsOneRun(t *testing.T) {
	m := newModule(t)
	m.generate()
	m.replace("internal/handlers/shop/shop.go", "New(o Options)", "New()")
	wantFiles(t, m.generate(), "internal/handlers/wiring_gen.go")
}

func TestRemovedAreaIsCleanedUp(t *testing.T) {
	m := newModule(t)
	m.write("internal/handlers/chat/chat.go", chatArea)
	m.generate()
	if err := os.Remove(filepath.Join(m.dir, "internal/handlers/chat/chat.go")); err != nil {
		t.Fatal(err)
	}
	changed := []string{
		"client/api/api_gen.go", "client/api/area_chat_gen.go", "docs/api.md",
		"internal/handlers/chat/rpc_gen.go", "internal/handlers/wiring_gen.go",
	}
	wantFiles(t, m.stale(), changed...)
	wantFiles(t, m.generate(), changed...)
	for _, name := range []string{"internal/handlers/chat", "client/api/area_chat_gen.go"} {
		if m.exists(name) {
			t.Errorf("%s is still there", name)
		}
	}
	if strings.Contains(m.read("internal/handlers/wiring_gen.go"), "chat") {
		t.Error("the wiring still has the area")
	}
}

func TestNonsenseInGeneratedFilesIsReplaced(t *testing.T) {
	m := newModule(t)
	m.generate()
	good := m.read("internal/handlers/shop/rpc_gen.go")
	const first = "// Code generated by rpcgen; DO NOT EDIT.\n"
	m.write("internal/handlers/shop/rpc_gen.go", first+"<<<<<<< merge conflict\n")
	m.write("internal/handlers/wiring_gen.go", first+"package handlers\n\nimport \"gameserverd/internal/handlers/gone\"\n\nvar _ = gone.New\n")
	wantFiles(t, m.generate(), "internal/handlers/shop/rpc_gen.go", "internal/handlers/wiring_gen.go")
	if m.read("internal/handlers/shop/rpc_gen.go") != good {
		t.Error("it is not as it was")
	}
}

func TestHandWrittenFileIsNotOverwritten(t *testing.T) {
	m := newModule(t)
	m.write("client/api/area_shop_gen.go", "package api\n")
	if got := m.refused(); !strings.HasPrefix(got, "client/api/area_shop_gen.go is in the way") {
		t.Errorf("got %q", got)
	}
	if m.read("client/api/area_shop_gen.go") != "package api\n" {
		t.Error("it was overwritten")
	}
}

func TestHandWrittenFileIsNotDeleted(t *testing.T) {
	m := newModule(t)
	m.write("client/api/mine_gen.go", "package api\n")
	m.generate()
	if !m.exists("client/api/mine_gen.go") {
		t.Error("it was deleted")
	}
}

func TestWithoutParts(t *testing.T) {
	m := newModule(t)
	m.write("internal/handlers/parts.go", "package handlers\n")
	if got, want := m.refused(), "internal/handlers: package handlers has no type Parts, whose fields are what New of an area can ask for"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	m.write("internal/handlers/parts.go", "package handlers\n\ntype Parts int\n")
	if got, want := m.refused(), "internal/handlers/parts.go:3:6: Parts must be a struct: its fields are what New of an area can ask for"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := os.Remove(filepath.Join(m.dir, "internal/handlers/parts.go")); err != nil {
		t.Fatal(err)
	}
	if got, want := m.refused(), "internal/handlers: the folder has no package with a type Parts, whose fields are what New of an area can ask for"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestOutsideOfAModule(t *testing.T) {
	dir := t.TempDir()
	if _, err := rpcgen.Generate(rpcgen.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "there is no go.mod in") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module gameserverd\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := rpcgen.Generate(rpcgen.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "there is no folder internal/handlers in") {
		t.Errorf("got %v", err)
	}
}

// TestBroken holds that compile errors are told with the other problems, once
// each.
func TestBroken(t *testing.T) {
	m := newModule(t, "broken")
	diffLines(t, m.refused()+"\n", m.read("want.txt"))
}

// TestBrokenDependency holds that areas are read although a package that they
// import does not compile: who works on both must not have to finish one first.
func TestBrokenDependency(t *testing.T) {
	m := newModule(t)
	m.replace("internal/rpc/rpc.go", "type Call struct{}", "type Call struct{}\n\nfunc broken() int { return \"x\" }")
	wantFiles(t, m.generate(), allOfModule...)
}
