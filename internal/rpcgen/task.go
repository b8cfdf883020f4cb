package rpcgen

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/go/packages"

	"gameserverd/internal/nearest"
)

// taskArea is a folder of background tasks.
type taskArea struct {
	name   string // the folder's: the first part of the tasks' names
	source *source
	tasks  []*task
}

// task is one background task: an exported function whose first parameter is
// *tasks.Call.
type task struct {
	goName string
	name   string
	doc    string
	pos    token.Pos
	params []*types.Var
	result types.Type // nil: only an error

	queue     string
	retries   int // -1: not said
	timeout   time.Duration
	ephemeral bool
}

const (
	tasksName   = "tasks_gen.go"
	catalogName = "catalog_gen.go"
	catalogDir  = "catalog" // below the tasks folder: knows all areas
	taskPrefix  = "//task:"
)

func (g *generator) tasksPath() string { return path.Join(g.module, g.config.Tasks) }

// loadTasks reads the areas of tasks, and returns what will be generated for them.
func (g *generator) loadTasks() ([]file, error) {
	if _, err := os.Stat(g.abs(g.config.Tasks)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	loaded, err := g.loadFolder(g.config.Tasks, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range loaded {
		folder, below := strings.CutPrefix(p.PkgPath, g.tasksPath()+"/")
		if below && folder != catalogDir {
			g.readTasks(&source{folder: folder, types: p.Types, info: p.TypesInfo, files: p.Syntax, path: p.PkgPath}, p.Errors)
		}
	}
	if len(g.problems) > 0 {
		return nil, nil
	}
	return g.taskFiles()
}

// readTasks finds the tasks of one package. What is wrong inside of functions the
// compiler says later: they may use what is not generated yet.
func (g *generator) readTasks(s *source, wrong []packages.Error) {
	for _, e := range wrong {
		if e.Kind == packages.ParseError {
			g.problemAt(g.parsePosition(e.Pos), compileError(e.Msg))
			s.broken = true
		}
	}
	if s.broken || s.types == nil {
		return
	}
	a := &taskArea{name: s.folder, source: s}
	read := make(map[token.Pos]bool)
	for _, f := range s.files {
		for _, d := range f.Decls {
			if decl, ok := d.(*ast.FuncDecl); ok && decl.Recv == nil && decl.Name.IsExported() {
				g.readTask(a, decl, read)
			}
		}
	}
	for _, f := range s.files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, taskPrefix) && !read[c.Slash] {
					g.problem(c.Slash, strings.TrimSpace(c.Text)+" is not in the doc comment of a task: an exported function whose first parameter is *tasks.Call")
				}
			}
		}
	}
	if len(a.tasks) == 0 {
		return
	}
	switch {
	case strings.Contains(a.name, "/"):
		g.problem(s.files[0].Name.Pos(), fmt.Sprintf("an area is a folder directly in %s: move %s there", g.config.Tasks, a.name))
	case !areaName.MatchString(a.name):
		g.problem(s.files[0].Name.Pos(), fmt.Sprintf("the folder's name %q begins the names of its tasks, so it must have only letters, digits and '_', and begin with a letter", a.name))
	}
	for _, t := range a.tasks {
		for _, name := range []string{t.goName + "Task", "def" + t.goName, "Definitions"} {
			if taken := s.types.Scope().Lookup(name); taken != nil {
				g.problem(taken.Pos(), fmt.Sprintf("the name %s is needed for the generated code of the task %s: choose another", name, t.goName))
			}
		}
	}
	g.tasks = append(g.tasks, a)
}

// isTaskCall reports whether t is *tasks.Call.
func (g *generator) isTaskCall(t types.Type) bool {
	ptr, ok := types.Unalias(t).(*types.Pointer)
	return ok && g.isNamed(ptr.Elem(), g.tasksPath(), "Call")
}

// readTask reads one exported function.
func (g *generator) readTask(a *taskArea, decl *ast.FuncDecl, read map[token.Pos]bool) {
	fn, ok := g.object(a.source, decl.Name).(*types.Func)
	if !ok {
		return
	}
	sig := fn.Signature()
	vars := sig.Params()
	if vars.Len() == 0 || !g.isTaskCall(vars.At(0).Type()) {
		if vars.Len() > 0 && g.isNamed(vars.At(0).Type(), g.tasksPath(), "Call") {
			g.readTaskDirectives(new(task), decl.Doc, read)
			g.problem(fn.Pos(), fmt.Sprintf("%s takes a tasks.Call: a task takes a pointer, *tasks.Call", fn.Name()))
			return
		}
		// Ordinary Go, for others of this program.
		return
	}
	t := &task{
		goName: fn.Name(), name: a.name + "." + lowerCamel(fn.Name()), pos: fn.Pos(), retries: -1,
		doc: strings.Join(strings.Fields(strings.SplitN(strings.TrimSpace(decl.Doc.Text()), "\n\n", 2)[0]), " "),
	}
	g.readTaskDirectives(t, decl.Doc, read)
	if sig.TypeParams().Len() > 0 {
		g.problem(t.pos, fmt.Sprintf("%s has type parameters, and what they are cannot be told from a message", t.goName))
		return
	}
	if sig.Variadic() {
		g.problem(vars.At(vars.Len()-1).Pos(), fmt.Sprintf("%s is variadic: take a slice", t.goName))
		return
	}
	for i := 1; i < vars.Len(); i++ {
		v := vars.At(i)
		if v.Name() == "" || v.Name() == "_" {
			g.problem(v.Pos(), fmt.Sprintf("parameter %d of %s needs a name", i, t.goName))
		} else if reason := notKept(v.Type(), nil); reason != "" {
			g.problem(v.Pos(), fmt.Sprintf("parameter %s of %s cannot be kept: %s", v.Name(), t.goName, reason))
		}
		t.params = append(t.params, v)
	}
	g.readTaskResults(t, sig)
	a.tasks = append(a.tasks, t)
}

func (g *generator) readTaskResults(t *task, sig *types.Signature) {
	res := sig.Results()
	switch {
	case res.Len() == 1 && isError(types.Unalias(res.At(0).Type())):
	case res.Len() == 2 && isError(types.Unalias(res.At(1).Type())):
		t.result = res.At(0).Type()
		if reason := notKept(t.result, nil); reason != "" {
			g.problem(t.pos, fmt.Sprintf("the result of %s cannot be kept: %s", t.goName, reason))
		}
		if t.ephemeral {
			g.problem(t.pos, fmt.Sprintf("%s is ephemeral, and nobody is told the result of such a task: return an error alone", t.goName))
		}
	default:
		g.problem(t.pos, fmt.Sprintf("%s returns %s: a task returns error, or (R, error)", t.goName, results(sig)))
	}
}

// notKept says why values of a type cannot be arguments or results, or "".
func notKept(t types.Type, within []types.Type) string {
	t = types.Unalias(t)
	if slices.ContainsFunc(within, func(o types.Type) bool { return types.Identical(o, t) }) {
		return ""
	}
	within = append(within, t)
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Kind() == types.Invalid {
			return "its type does not compile"
		}
		if u.Info()&(types.IsBoolean|types.IsInteger|types.IsFloat|types.IsString) == 0 || u.Kind() == types.Uintptr {
			return shortType(t) + " has no form in MessagePack"
		}
		return ""
	case *types.Slice:
		return notKept(u.Elem(), within)
	case *types.Map:
		if key, ok := u.Key().Underlying().(*types.Basic); !ok || key.Info()&types.IsString == 0 {
			return "a map needs strings as keys"
		}
		return notKept(u.Elem(), within)
	case *types.Struct:
		kept := 0
		for i := range u.NumFields() {
			f := u.Field(i)
			if !f.Exported() || reflect.StructTag(u.Tag(i)).Get("msgpack") == "-" {
				continue
			}
			kept++
			if reason := notKept(f.Type(), within); reason != "" {
				return fmt.Sprintf("field %s: %s", f.Name(), reason)
			}
		}
		if kept == 0 && u.NumFields() > 0 {
			return shortType(t) + " has no exported field; a time is kept as an integer"
		}
		return ""
	}
	return shortType(t) + " has no form in MessagePack: take a value"
}

var taskDirectives = []string{"queue", "retries", "timeout", "ephemeral", "name"}

var (
	spacedTask = regexp.MustCompile(`^//\s+task:([a-z]+)`)
	queueName  = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
)

// readTaskDirectives reads the //task: lines of a doc comment.
func (g *generator) readTaskDirectives(t *task, doc *ast.CommentGroup, read map[token.Pos]bool) {
	if doc == nil {
		return
	}
	seen := make(map[string]bool)
	for _, c := range doc.List {
		if m := spacedTask.FindStringSubmatch(c.Text); m != nil && slices.Contains(taskDirectives, m[1]) {
			g.problem(c.Slash, fmt.Sprintf("a directive has no space after the slashes: write //task:%s", m[1]))
			continue
		}
		line, ok := strings.CutPrefix(c.Text, taskPrefix)
		if !ok {
			continue
		}
		read[c.Slash] = true
		word, rest, _ := strings.Cut(line, " ")
		if seen[word] {
			g.problem(c.Slash, fmt.Sprintf("//task:%s is given twice", word))
			continue
		}
		seen[word] = true
		if problem := t.direct(word, strings.TrimSpace(rest)); problem != "" {
			g.problem(c.Slash, problem)
		}
	}
}

// direct takes over one directive, or says what is wrong with it.
func (t *task) direct(word, rest string) (problem string) {
	var err error
	switch word {
	case "queue":
		if t.queue = rest; !queueName.MatchString(rest) {
			return "//task:queue takes one name of a-z, 0-9, _ and -, for example //task:queue low"
		}
	case "retries":
		if t.retries, err = strconv.Atoi(rest); err != nil || t.retries < 0 || t.retries > 1_000_000 {
			return "//task:retries takes a number from 0 to 1000000"
		}
	case "timeout":
		if t.timeout, err = time.ParseDuration(rest); err != nil || t.timeout < time.Millisecond || t.timeout > 30*24*time.Hour {
			return "//task:timeout takes a duration from 1ms to 720h, for example //task:timeout 5m"
		}
	case "ephemeral":
		if t.ephemeral = true; rest != "" {
			return fmt.Sprintf("//task:ephemeral takes nothing after it, got %q", rest)
		}
	case "name":
		if reason := badName(rest); rest == "" || reason != "" {
			return fmt.Sprintf("//task:name takes one name; %q %s", rest, reason)
		}
		t.name = rest
	default:
		if meant := nearest.Name(word, taskDirectives); meant != "" {
			return fmt.Sprintf("there is no directive //task:%s: did you mean //task:%s?", word, meant)
		}
		return fmt.Sprintf("there is no directive //task:%s: known are //task:%s", word, strings.Join(taskDirectives, ", //task:"))
	}
	return ""
}
