package rpcgen_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gameserverd/internal/rpcgen"
)

var update = flag.Bool("update", false, "write testdata/good's generated files and testdata/refuse/want.txt anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is the configuration for a folder of testdata.
func testConfig(name string) rpcgen.Config {
	base := "internal/rpcgen/testdata/" + name + "/"
	return rpcgen.Config{Handlers: base + "handlers", Client: base + "api", Page: base + "api.md"}
}

// TestRepositoryIsFresh holds the generated files of this repository to its
// handlers.
func TestRepositoryIsFresh(t *testing.T) {
	out, err := rpcgen.Generate(rpcgen.Config{})
	if err != nil {
		t.Fatal(err)
	}
	stale, err := out.Stale()
	if err != nil || len(stale) > 0 {
		t.Fatalf("run `make generate`: out of date: %v (%v)", stale, err)
	}
}

// TestGolden holds what is generated for testdata/good to the files there, which
// good_test.go imports and calls.
func TestGolden(t *testing.T) {
	out, err := rpcgen.Generate(testConfig("good"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		written, err := out.Write()
		t.Log(written, err)
	}
	stale, err := out.Stale()
	if err != nil || len(stale) > 0 {
		t.Fatalf("not as generated (run this test with -update, and read the diff): %v (%v)", stale, err)
	}
	again, err := rpcgen.Generate(testConfig("good"))
	if err != nil {
		t.Fatal(err)
	}
	if stale, _ := again.Stale(); len(stale) > 0 {
		t.Errorf("a second run wrote %v otherwise", stale)
	}
}

// TestRefusals holds every reason to generate nothing, all told in one run, to
// testdata/refuse/want.txt.
func TestRefusals(t *testing.T) {
	_, err := rpcgen.Generate(testConfig("refuse"))
	var problems rpcgen.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got error %v, want Problems", err)
	}
	got := strings.ReplaceAll(err.Error(), "internal/rpcgen/testdata/refuse/", "") + "\n"
	golden := filepath.Join("testdata", "refuse", "want.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	diffLines(t, got, string(want))
	for _, p := range problems {
		if p.Pos.Filename == "" || p.Pos.Line == 0 {
			t.Errorf("no place is given for %q", p.Text)
		}
	}
}

// diffLines fails the test with the lines that only one of two texts has.
func diffLines(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	count := make(map[string]int)
	for line := range strings.Lines(got) {
		count[line]++
	}
	for line := range strings.Lines(want) {
		count[line]--
	}
	for line, n := range count {
		switch {
		case n > 0:
			t.Errorf("unexpected: %s", line)
		case n < 0:
			t.Errorf("missing: %s", line)
		}
	}
	if !t.Failed() {
		t.Errorf("the lines are in another order:\n%s", got)
	}
}
