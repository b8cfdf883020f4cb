package runbook

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// use is a key of the log where it is given a value.
type use struct{ key, kind, where string }

// kinds are zap's functions that make a field, and what its values are in json.
var kinds = map[string]string{
	"String": "text", "Stringer": "text", "ByteString": "text", "Error": "text",
	"Strings": "list",
	"Int":     "number", "Int32": "number", "Int64": "number", "Uint16": "number", "Uint32": "number", "Uint64": "number", "Float64": "number",
	"Duration": "seconds", "Time": "time", "Bool": "bool", "Any": "any",
}

// others are zap's functions that are no fields.
var others = map[string]bool{
	"New": true, "NewNop": true, "NewAtomicLevel": true, "NewAtomicLevelAt": true, "NewProductionEncoderConfig": true, "ErrorOutput": true, "WrapCore": true,
	"AddCallerSkip": true, "Fields": true, "NewStdLogAt": true, "NewStdLog": true, "LevelEnablerFunc": true, "Level": true,
}

// reserved are the keys of every line.
var reserved = []string{"level", "time", "msg"}

// passedOn is where a field is made of one that somebody else has made.
var passedOn = []string{"internal/cli/logsample.go"}

// keysOf finds the keys of a file; problems are fields that cannot be explained.
func keysOf(files *token.FileSet, file *ast.File) (uses []use, problems []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "zap" {
			return true
		}
		where := files.Position(call.Pos()).String()
		kind, isField := kinds[sel.Sel.Name]
		switch {
		case others[sel.Sel.Name]:
		case !isField:
			problems = append(problems, fmt.Sprintf("%s: zap.%s is not in the table of this test", where, sel.Sel.Name))
		case sel.Sel.Name == "Error":
			uses = append(uses, use{"error", kind, where})
		default:
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				if !slices.ContainsFunc(passedOn, func(p string) bool { return strings.Contains(filepath.ToSlash(where), p+":") }) {
					problems = append(problems, where+": a key must be a constant, so that "+page+" can explain it")
				}
				return true
			}
			key, _ := strconv.Unquote(lit.Value)
			uses = append(uses, use{key, kind, where})
		}
		return true
	})
	return uses, problems
}

// aKey is a row of the table: | `key` | type | meaning |
var aKey = regexp.MustCompile("^\\| `([a-z_]+)` \\| ([a-z]+) \\| ([^|]+) \\|$")

// explainedKeys reads the page's table: key to type.
func explainedKeys(t *testing.T, text string) map[string]string {
	t.Helper()
	_, section, ok := strings.Cut(text, "\n## Keys of the log\n")
	if !ok {
		t.Fatalf("%s has no section `Keys of the log`", page)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	all := map[string]string{}
	last := ""
	for row := range strings.Lines(section) {
		m := aKey.FindStringSubmatch(strings.TrimSpace(row))
		switch {
		case m == nil && strings.HasPrefix(row, "| `"):
			t.Errorf("%s: a row that is none: %s", page, row)
		case m == nil:
		case m[1] <= last:
			t.Errorf("%s: `%s` is not in order, or there twice", page, m[1])
		default:
			all[m[1]], last = m[2], m[1]
		}
	}
	return all
}

// compareKeys lists what one side has and the other lacks, and keys whose values are
// of two types.
func compareKeys(uses []use, rows map[string]string) (problems []string) {
	known := slices.Collect(maps.Values(kinds))
	used := map[string]bool{}
	for _, u := range uses {
		used[u.key] = true
		kind, ok := rows[u.key]
		switch {
		case slices.Contains(reserved, u.key):
			problems = append(problems, fmt.Sprintf("%s: `%s` is there in every line already", u.where, u.key))
		case !ok:
			problems = append(problems, fmt.Sprintf("%s has a key that %s does not explain. Use one that is there, or add a row:\n| `%s` | %s | what it means, and its unit |", u.where, page, u.key, u.kind))
		case kind != u.kind:
			problems = append(problems, fmt.Sprintf("%s gives `%s` a value of type %s, %s says %s", u.where, u.key, u.kind, page, kind))
		}
	}
	for key, kind := range rows {
		if !used[key] {
			problems = append(problems, fmt.Sprintf("%s explains the key `%s`, which no line has any more", page, key))
		}
		if !slices.Contains(known, kind) {
			problems = append(problems, fmt.Sprintf("%s: %s is no type", page, kind))
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

func TestEveryKeyOfTheLogIsExplained(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var all []use
	for _, folder := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || d.Name() == "storetest"):
				return filepath.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			uses, problems := keysOf(files, file)
			all = append(all, uses...)
			for _, p := range problems {
				t.Error(p)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 150 {
		t.Errorf("only %d fields were found", len(all))
	}
	for _, problem := range compareKeys(all, explainedKeys(t, string(text))) {
		t.Error(problem)
	}
}

// The finder finds every form, and the comparison every kind of gap.
func TestTheFinderFindsKeys(t *testing.T) {
	const source = `package p
func f(key string) {
	log.Warn("a", zap.Int("n", 1), zap.Error(err), zap.Duration("took", d))
	log.With(zap.String("uid", "7")).Info("b", zap.Object("o", x), zap.String(key, ""), zap.String("level", ""))
	zap.New(core); other.String("no"); zap.Stringer("peer", p)
}`
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	uses, problems := keysOf(files, file)
	var got []string
	for _, u := range uses {
		got = append(got, u.key+" "+u.kind)
	}
	if want := []string{"n number", "error text", "took seconds", "uid text", "level text", "peer text"}; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("found %q, want %q", got, want)
	}
	if len(problems) != 2 {
		t.Errorf("%q", problems)
	}
	// uid has two types, level is reserved, peer is not explained, gone is not used, and of no type.
	problems = compareKeys(uses, map[string]string{"n": "number", "error": "text", "took": "seconds", "uid": "number", "gone": "blob"})
	if len(problems) != 5 {
		t.Errorf("%d: %q", len(problems), problems)
	}
}
