package runbook

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const page = "docs/operations.md"

// line is a message at Warn or above, and where it is logged.
type line struct{ message, level, where string }

// levels are zap's methods at Warn and above.
var levels = map[string]string{"Warn": "WARN", "Error": "ERROR", "DPanic": "ERROR", "Panic": "ERROR", "Fatal": "ERROR"}

// finder collects the lines of one file.
type finder struct {
	files  *token.FileSet
	consts map[string]string // the file's package's string constants
	vars   map[string]string // the highest level that a variable of the function gets; "": below Warn
	lines  []line
	vague  []string // calls whose message is not constant
}

func (f *finder) add(call *ast.CallExpr, level string, message ast.Expr, isLog bool) {
	where := f.files.Position(call.Pos()).String()
	switch m := message.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(m.Value); err == nil && m.Kind == token.STRING {
			f.lines = append(f.lines, line{text, level, where})
			return
		}
	case *ast.Ident:
		if text, ok := f.consts[m.Name]; ok {
			f.lines = append(f.lines, line{text, level, where})
			return
		}
	}
	if isLog {
		f.vague = append(f.vague, where)
	}
}

// call looks at one call: log.Warn("...", ...), log.Log(zap.WarnLevel, "...", ...) and
// log.Check of the same.
func (f *finder) call(call *ast.CallExpr) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return
	}
	isLog := isLogger(sel.X)
	if level, ok := levels[sel.Sel.Name]; ok {
		f.add(call, level, call.Args[0], isLog)
		return
	}
	if (sel.Sel.Name == "Log" || sel.Sel.Name == "Check") && isLog && len(call.Args) >= 2 {
		if level := f.levelOf(call.Args[0]); level != "" {
			f.add(call, level, call.Args[1], true)
		}
	}
}

// isLogger says whether an expression is named as loggers are here.
func isLogger(e ast.Expr) bool {
	name := ""
	switch e := e.(type) {
	case *ast.Ident:
		name = e.Name
	case *ast.SelectorExpr:
		name = e.Sel.Name
	case *ast.CallExpr: // log.With(...).Warn
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok {
			return isLogger(sel.X)
		}
	}
	name = strings.ToLower(name)
	return name == "l" || strings.HasSuffix(name, "log") || strings.HasSuffix(name, "logger")
}

// levelOf is the level that an expression such as zap.WarnLevel names, or a
// variable that was given one, "" for one below Warn; any other may be any.
func (f *finder) levelOf(e ast.Expr) string {
	if name, ok := e.(*ast.Ident); ok {
		if level, known := f.vars[name.Name]; known {
			return level
		}
	}
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "WARN"
	}
	switch name := strings.TrimSuffix(sel.Sel.Name, "Level"); name {
	case "Debug", "Info":
		return ""
	default:
		return levels[name]
	}
}

// levelsOf finds the variables of a function that are given a level.
func (f *finder) levelsOf(fn *ast.FuncDecl) {
	f.vars = map[string]string{}
	ast.Inspect(fn, func(n ast.Node) bool {
		set, ok := n.(*ast.AssignStmt)
		if !ok || len(set.Lhs) != len(set.Rhs) {
			return true
		}
		for i, to := range set.Lhs {
			name, isName := to.(*ast.Ident)
			if _, isLevel := set.Rhs[i].(*ast.SelectorExpr); isName && isLevel {
				f.vars[name.Name] = max(f.vars[name.Name], f.levelOf(set.Rhs[i])) // WARN is after ERROR: either is explained
			}
		}
		return true
	})
}

// look looks at all of a file.
func (f *finder) look(file *ast.File) {
	for _, d := range file.Decls {
		f.vars = nil
		if fn, ok := d.(*ast.FuncDecl); ok {
			f.levelsOf(fn)
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				f.call(call)
			}
			return true
		})
	}
}

// logged finds all lines at Warn and above in the code below folders.
func logged(t *testing.T, root string, folders ...string) (all []line) {
	t.Helper()
	seen := 0
	for _, folder := range folders {
		byDir := map[string][]*ast.File{}
		files := token.NewFileSet()
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			seen++
			byDir[filepath.Dir(path)] = append(byDir[filepath.Dir(path)], file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range byDir {
			f := &finder{files: files, consts: constants(list)}
			for _, file := range list {
				f.look(file)
			}
			for _, where := range f.vague {
				t.Errorf("%s: the message must be a constant, so that %s can say what to do about it", where, page)
			}
			all = append(all, f.lines...)
		}
	}
	if seen < 100 {
		t.Errorf("only %d files were looked at", seen)
	}
	return all
}

// constants are the string constants of a package.
func constants(list []*ast.File) map[string]string {
	all := map[string]string{}
	for _, file := range list {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != len(spec.Values) {
				return true
			}
			for i, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						all[spec.Names[i].Name] = text
					}
				}
			}
			return true
		})
	}
	return all
}

// aRow is a row of the table: | `message` | LEVEL | meaning | what to do |
var aRow = regexp.MustCompile("^\\| `([^`]+)` \\| (WARN|ERROR) \\| ([^|]+) \\| ([^|]+) \\|$")

// explained reads the page's table: message to level.
func explained(t *testing.T, text string) map[string]string {
	t.Helper()
	all := map[string]string{}
	_, section, ok := strings.Cut(text, "\n## Log lines at Warn and above\n")
	if !ok {
		t.Fatalf("%s has no section `Log lines at Warn and above`", page)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for row := range strings.Lines(section) {
		if m := aRow.FindStringSubmatch(strings.TrimSpace(row)); m != nil {
			if all[m[1]] != "" {
				t.Errorf("%s has `%s` twice", page, m[1])
			}
			all[m[1]] = m[2]
		} else if strings.HasPrefix(row, "| `") {
			t.Errorf("%s: a row that is none: %s", page, row)
		}
	}
	return all
}

func TestEveryWarningIsExplained(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	rows := explained(t, string(text))
	lines := logged(t, root, "internal", "cmd")
	if len(lines) < 20 {
		t.Errorf("only %d lines were found", len(lines))
	}
	for _, problem := range compare(lines, rows) {
		t.Error(problem)
	}
}

// compare lists what one side has and the other lacks.
func compare(lines []line, rows map[string]string) (problems []string) {
	used := map[string]bool{}
	for _, l := range lines {
		used[l.message] = true
		switch level, ok := rows[l.message]; {
		case !ok:
			problems = append(problems, fmt.Sprintf("%s logs at %s what %s does not explain. Add a row to its table:\n| `%s` | %s | what it means | what to do |", l.where, l.level, page, l.message, l.level))
		case level != l.level:
			problems = append(problems, fmt.Sprintf("%s logs `%s` at %s, %s says %s", l.where, l.message, l.level, page, level))
		}
	}
	for message := range rows {
		if !used[message] {
			problems = append(problems, fmt.Sprintf("%s explains `%s`, which nothing logs any more", page, message))
		}
	}
	slices.Sort(problems)
	return problems
}

// The finder finds every form, and the comparison both kinds of gap.
func TestTheFinderFinds(t *testing.T) {
	const source = `package p
const named = "by name"
func f(s *S) {
	s.log.Warn("plain", zap.Int("a", 1))
	s.o.Log.With(x).Error("with")
	logger.Error(named)
	log.Log(zap.WarnLevel, "by level")
	if ce := log.Check(zapcore.ErrorLevel, "checked"); ce != nil {}
	log.Info("not this"); log.Log(zap.InfoLevel, "nor this"); t.Error(err); http.Error(w, "x", 1)
	log.Warn(fmt.Sprint("vague"))
	log.Log(level, "any level")
	low := zap.InfoLevel
	log.Log(low, "low"); low = zap.DebugLevel
	high := zap.InfoLevel
	if s != nil { high = zap.ErrorLevel }
	log.Log(high, "high")
}`
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := &finder{files: files, consts: constants([]*ast.File{file})}
	f.look(file)
	var got []string
	for _, l := range f.lines {
		got = append(got, l.level+" "+l.message)
	}
	if want := []string{"WARN plain", "ERROR with", "ERROR by name", "WARN by level", "ERROR checked", "WARN any level", "ERROR high"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if len(f.vague) != 1 || f.vague[0] != "p.go:10:2" {
		t.Errorf("vague: %q", f.vague)
	}
	problems := compare([]line{{"a", "WARN", "x:1"}, {"b", "ERROR", "x:2"}, {"c", "WARN", "x:3"}}, map[string]string{"a": "WARN", "b": "WARN", "d": "WARN"})
	if len(problems) != 3 {
		t.Errorf("%q", problems)
	}
}
