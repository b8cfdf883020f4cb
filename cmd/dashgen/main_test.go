package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// It writes what is missing, then nothing; -check names what somebody changed.
func TestRun(t *testing.T) {
	folder := t.TempDir()
	call := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(append([]string{"-C", folder}, args...), &out, &errs); got != want {
			t.Fatalf("%q exits with %d, not %d\n%s%s", args, got, want, &out, &errs)
		}
		return out.String(), errs.String()
	}
	const rules = "deploy/prometheus/rules.yml"
	if _, stderr := call(1, "-check"); !strings.Contains(stderr, rules) {
		t.Errorf("nothing is there, and it says %q", stderr)
	}
	if stdout, _ := call(0); !strings.Contains(stdout, rules) {
		t.Errorf("it wrote %q", stdout)
	}
	if stdout, _ := call(0); stdout != "" {
		t.Errorf("it wrote again %q", stdout)
	}
	call(0, "-check")
	if err := os.WriteFile(filepath.Join(folder, rules), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr := call(1, "-check"); !strings.Contains(stderr, "make generate") || !strings.Contains(stderr, rules) || strings.Contains(stderr, ".json") {
		t.Errorf("it says %q", stderr)
	}
	call(2, "more")
	call(2, "-no-such-flag")
}
