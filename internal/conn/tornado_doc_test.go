package conn

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// In docs/tornado.md a file is named before the tests that are in it, in the same row or sentence.
func TestTornadoPageNamesRealTests(t *testing.T) {
	const root = "../.."
	page, err := os.ReadFile(filepath.Join(root, "docs", "tornado.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]map[string]bool{} // by file
	quoted := regexp.MustCompile("`([^`]+)`")
	testName := regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w*$`)
	named, rows := map[string]bool{}, 0
	file := ""
	for n, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) == 5 && strings.Contains(cells[1], "est") && strings.Contains(cells[1], "`") {
			rows++
			if reason := strings.TrimSpace(cells[3]); !strings.Contains(reason, "_test.go") && !strings.Contains(reason, "does not apply: ") && !strings.Contains(reason, "later part") {
				t.Errorf("line %d: %s has neither a test nor a reason", n+1, strings.TrimSpace(cells[1]))
			}
		}
		text := line
		if len(cells) == 5 {
			text, file = cells[3], ""
		}
		for _, m := range quoted.FindAllStringSubmatch(text, -1) {
			switch name := m[1]; {
			case strings.HasSuffix(name, "_test.go"):
				file = name
				if tests[file] == nil {
					tests[file] = testsIn(t, filepath.Join(root, filepath.FromSlash(file)))
				}
			case testName.MatchString(name):
				named[name] = true
				if name != t.Name() && !tests[file][name] {
					t.Errorf("line %d: there is no %s in %q", n+1, name, file)
				}
			}
		}
	}
	if rows < 90 || len(named) < 100 {
		t.Errorf("%d promises and %d tests were found: this does not read the page right", rows, len(named))
	}
}

// testsIn returns the test functions of a file.
func testsIn(t *testing.T, path string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return map[string]bool{}
	}
	names := map[string]bool{}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			names[f.Name.Name] = true
		}
	}
	return names
}
