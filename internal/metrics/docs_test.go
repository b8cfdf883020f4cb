package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/metrics.md anew")

const docsFile = "../../docs/metrics.md"

// Where the tables are in docs/metrics.md.
const (
	tablesBegin = "<!-- made of internal/metrics/catalogue.go: go test ./internal/metrics -run Docs -update -->\n"
	tablesEnd   = "<!-- end -->\n"
)

// sections are the first families of each, with its heading.
var sections = map[*Family]string{
	BuildInfo: "The process", Calls: "Calls of methods", Asked: "Calls of clients, and what goes wrong", LoopTurns: "Loops and workers",
	Connections: "Connections", StoreUp: "Stores and changes", TaskRuns: "Background tasks", Scrapes: "Metrics, spans and the console",
}

// tables lists all families.
func tables() []byte {
	var b bytes.Buffer
	for _, f := range Families() {
		if title := sections[f]; title != "" {
			fmt.Fprintf(&b, "\n### %s\n\n| metric | labels | kind | |\n|---|---|---|---|\n", title)
		}
		labels := "–"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		kind := f.Kind.typeName()
		if f.Scale() != nil {
			kind += fmt.Sprintf(", %d series", len(f.Scale().Bounds())+3)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, labels, kind, strings.ReplaceAll(f.Help, "|", `\|`))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// TestDocs: docs/metrics.md has every family as the catalogue has it.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begin := bytes.Cut(page, []byte(tablesBegin))
	_, after, end := bytes.Cut(rest, []byte(tablesEnd))
	if !begin || !end {
		t.Fatalf("%s has not both %q and %q", docsFile, tablesBegin, tablesEnd)
	}
	want := bytes.Join([][]byte{before, []byte(tablesBegin), tables(), []byte(tablesEnd), after}, nil)
	if bytes.Equal(page, want) {
		return
	}
	if !*update {
		t.Fatalf("the tables of %s are stale: go test ./internal/metrics -run Docs -update", docsFile)
	}
	if err := os.WriteFile(docsFile, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCatalogue: names, labels and helps are as Prometheus and its checker want them.
func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Families() {
		name := strings.TrimPrefix(f.Name, prefix)
		switch {
		case seen[f.Name]:
			t.Errorf("%s is there twice", f.Name)
		case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "":
			t.Errorf("%s: no name", f.Name)
		case strings.HasSuffix(name, "_total") != (f.Kind == Counter):
			t.Errorf("%s is a %s: a counter's name ends with _total, and no other's", f.Name, f.Kind.typeName())
		case f.Kind == Durations && !strings.HasSuffix(name, "_seconds"):
			t.Errorf("%s is of durations: its name ends with _seconds", f.Name)
		case f.Help == "" || !strings.HasSuffix(f.Help, "."):
			t.Errorf("%s: the help is no sentence: %q", f.Name, f.Help)
		}
		seen[f.Name] = true
		labels := map[string]bool{"instance": true, "job": true, "le": true, "quantile": true} // Prometheus' own
		for _, l := range f.Labels {
			if labels[l] || l == "" {
				t.Errorf("%s: label %q is there twice, or taken", f.Name, l)
			}
			labels[l] = true
		}
	}
	for f := range sections {
		if !seen[f.Name] {
			t.Errorf("the section of %s has no family", f.Name)
		}
	}
}
