package dashboards

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gameserverd/internal/metrics"
)

var root = filepath.Join("..", "..")

// What is shipped is what this package makes.
func TestShippedFiles(t *testing.T) {
	stale, err := Stale(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stale {
		t.Errorf("%s is out of date: make generate", name)
	}
}

// Write makes all files, and again only what somebody changed; boards that there
// are no more go.
func TestWrite(t *testing.T) {
	folder := t.TempDir()
	all, err := Write(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 6+2*len(boards()) {
		t.Errorf("%d files were written", len(all))
	}
	const changed, gone = "deploy/prometheus/rules.yml", "deploy/grafana/dashboards/influxdb/gone.json"
	for _, name := range []string{changed, gone} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range []func(string) ([]string, error){Stale, Write} {
		if got, err := do(folder); err != nil || !slices.Equal(got, []string{gone, changed}) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got, err := Stale(folder); err != nil || len(got) > 0 {
		t.Errorf("after all was written %q, %v", got, err)
	}
}

// Every family of the catalogue is on a board.
func TestEveryFamilyIsShown(t *testing.T) {
	shown := map[string]bool{
		metrics.BuildInfo.Name: true, // the variables
		metrics.Draining.Name:  true, // the annotations
	}
	for _, b := range boards() {
		for _, r := range b.rows {
			for _, p := range r.panels {
				for _, s := range p.series {
					for _, f := range s.value.families() {
						shown[f.Name] = true
					}
				}
			}
		}
	}
	for _, f := range metrics.Families() {
		if !shown[f.Name] {
			t.Errorf("%s is on no board", f.Name)
		}
	}
}

// Every panel says what it shows, and can be read.
func TestPanels(t *testing.T) {
	headings := headingsOf(t, "docs/operations.md")
	for _, b := range boards() {
		titles := map[string]bool{}
		for _, r := range b.rows {
			for _, p := range r.panels {
				where := b.name + ": " + p.title
				if titles[p.title] {
					t.Errorf("%s is there twice", where)
				}
				titles[p.title] = true
				if p.title == "" || p.unit == "" || len(p.series) == 0 || !strings.HasSuffix(p.description, ".") {
					t.Errorf("%s lacks a title, a unit, a query or a description that is a sentence", where)
				}
				if p.runbook != "" && !headings[p.runbook] {
					t.Errorf("%s: docs/operations.md has no heading %q", where, p.runbook)
				}
				if (p.show == table) != (p.by != "") {
					t.Errorf("%s: only a table has lines by a label", where)
				}
				checkLegends(t, where, &p)
			}
		}
	}
}

// checkLegends holds that a legend names the labels of its query, all of them: else
// two lines have one name.
func checkLegends(t *testing.T, where string, p *panel) {
	seen := map[string]bool{}
	for _, s := range p.series {
		if seen[s.legend] {
			t.Errorf("%s has two queries with the legend %q", where, s.legend)
		}
		seen[s.legend] = true
		if p.show == number && len(p.series) != 1 {
			t.Errorf("%s: a number has one query", where)
		}
		if p.show == number && len(s.value.by) > 0 {
			t.Errorf("%s: a number is of everything", where)
		}
		for _, label := range s.value.by {
			if p.show == table && label != p.by || p.show != table && !strings.Contains(s.legend, "{{"+label+"}}") {
				t.Errorf("%s: the legend %q does not name %s", where, s.legend, label)
			}
		}
		if strings.Count(s.legend, "{{") > len(s.value.by) {
			t.Errorf("%s: the legend %q names a label that is not asked for", where, s.legend)
		}
		if p.show == table && s.value.op == opRate {
			t.Errorf("%s: a table is over all the time shown and has no rates", where)
		}
	}
}

// Panels lie beside and below each other, on 24 columns.
func TestLayout(t *testing.T) {
	for _, b := range boards() {
		for _, s := range []source{prometheus, influxDB} {
			taken := map[[2]int]string{}
			ids := map[int]bool{}
			place := func(id int, title string, g gridPos) {
				if ids[id] {
					t.Errorf("%s: the id %d is there twice", b.name, id)
				}
				ids[id] = true
				for x := g.X; x < g.X+g.W; x++ {
					for y := g.Y; y < g.Y+g.H; y++ {
						if taken[[2]int{x, y}] != "" || x >= 24 {
							t.Fatalf("%s: %s and %s are at column %d, line %d", b.name, title, taken[[2]int{x, y}], x, y)
						}
						taken[[2]int{x, y}] = title
					}
				}
			}
			for _, p := range b.render(s).Panels {
				switch p := p.(type) {
				case gRow:
					place(p.ID, p.Title, p.GridPos)
				case gPanel:
					place(p.ID, p.Title, p.GridPos)
				}
			}
		}
	}
}

// headingsOf are the headings of a page.
func headingsOf(t *testing.T, page string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			all[strings.TrimSpace(heading)] = true
		}
	}
	return all
}

// Every alert has a section of its own in the runbook, which says what it means, how
// to look, and what to do; and no section is about an alert that is gone.
func TestRunbook(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	about := map[string][]string{}
	for _, a := range alerts() {
		about[a.runbook] = append(about[a.runbook], a.name)
		_, section, ok := strings.Cut(string(b), "\n### "+a.runbook+"\n")
		if !ok {
			t.Errorf("docs/operations.md has no section %q", a.runbook)
			continue
		}
		section, _, _ = strings.Cut(section, "\n##")
		for _, part := range []string{"`" + a.name + "`", "**It means**", "**Look**", "**Do**"} {
			if !strings.Contains(section, part) {
				t.Errorf("docs/operations.md, %s: %s is not there", a.runbook, part)
			}
		}
	}
	for heading := range headingsOf(t, "docs/operations.md") {
		if strings.HasPrefix(heading, "Alert: ") && about[heading] == nil {
			t.Errorf("docs/operations.md explains %q, which there is not", heading)
		}
	}
}

// The addresses of headings are those that Markdown's renderers make.
func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"Alert: store down": "alert-store-down", "At 3 a.m.": "at-3-am", "Log lines at Warn and above": "log-lines-at-warn-and-above",
	} {
		if got := anchor(heading); got != want {
			t.Errorf("%s is at #%s, not at #%s", heading, got, want)
		}
	}
}

// docs/monitoring.md lists every board, panel and alert.
func TestMonitoringPage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs/monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, board := range boards() {
		for _, r := range board.rows {
			for _, p := range r.panels {
				if !strings.Contains(page, p.title) {
					t.Errorf("docs/monitoring.md lacks the panel %q of %s", p.title, board.name)
				}
			}
		}
	}
	for _, a := range alerts() {
		if !strings.Contains(page, "`"+a.name+"`") {
			t.Errorf("docs/monitoring.md lacks %s", a.name)
		}
	}
}
