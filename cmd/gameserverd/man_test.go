package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The manual has every command and every flag, and no text that troff would take
// for a request.
func TestManualIsWhole(t *testing.T) {
	out, errText, code := runHere(t, "man")
	if code != 0 || errText != "" {
		t.Fatalf("exit code %d: %s", code, errText)
	}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			if c.Hidden || c.Name() == "help" {
				continue
			}
			if !strings.Contains(out, "\n.SS "+escape(c.UseLine())+"\n") {
				t.Errorf("no %s", c.CommandPath())
			}
			c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
				if !f.Hidden && f.Name != "help" && !strings.Contains(out, `\fB`+escape("--"+f.Name)+`\fR`) {
					t.Errorf("%s: no --%s", c.CommandPath(), f.Name)
				}
			})
			visit(c)
		}
	}
	visit(newRoot("gameserverd"))
	requests := []string{".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi", ".B", ".I", ".BR"}
	for line := range strings.Lines(out) {
		if line[0] == '\'' || line[0] == '.' && !slices.Contains(requests, strings.Fields(line)[0]) {
			t.Errorf("no request of ours: %q", line)
		}
		if m := regexp.MustCompile(`\\[^e&\-(f]`).FindString(line); m != "" {
			t.Errorf("%q is not escaped: %q", m, line)
		}
	}
}

func TestManualText(t *testing.T) {
	var b strings.Builder
	manText(&b, ".start -x\\n\nsecond 'one'\n  kept  as\n  it is\nlast")
	const want = "\\&.start \\-x\\en\nsecond \\(aqone\\(aq\n.PP\n.nf\n  kept  as\n  it is\n.fi\n.PP\nlast\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
