package linefile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"gameserverd/internal/disktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // which the test may have done
	return f
}

func want(t *testing.T, path, text string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("%s has %q, %v; want %q", filepath.Base(path), got, err, text)
	}
}

func add(t *testing.T, f *File, line string) {
	t.Helper()
	if n, err := f.Write([]byte(line)); n != len(line) || err != nil {
		t.Errorf("%q: %d, %v", line, n, err)
	}
}

// Half a line was left, and the next line began behind it.
func TestALineThatDoesNotFitIsTakenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	f := open(t, path)
	add(t, f, "first\n")
	disktest.Full(t, path, 3, func() {
		for range 2 {
			if n, err := f.Write([]byte("second\n")); n != 0 || err == nil {
				t.Errorf("%d bytes of it are there, %v", n, err)
			}
		}
	})
	want(t, path, "first\n")
	add(t, f, "third\n")
	want(t, path, "first\nthird\n")
}

// What somebody else has written behind half a line is not taken back with it.
func TestALineThatCannotBeTakenBackIsEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	f := open(t, path)
	add(t, f, "first\nsec")
	other := open(t, path)
	add(t, other, "other's\n")
	if f.takeBackLocked(3) {
		t.Fatal("taken back")
	}
	want(t, path, "first\nsec\nother's\n")
	f.torn = true
	add(t, f, "third\n")
	want(t, path, "first\nsec\nother's\n\nthird\n")
}

// A daemon that was killed on a full disk has left half a line to the next one.
func TestHalfALineOfALifeBeforeIsEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(path, []byte("first\nsec"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	want(t, path, "first\nsec") // until there is a line
	disktest.Full(t, path, 0, func() {
		if n, err := f.Write([]byte("second\n")); n != 0 || err == nil {
			t.Errorf("%d bytes of it are there, %v", n, err)
		}
	})
	add(t, f, "third\n")
	add(t, f, "fourth\n")
	want(t, path, "first\nsec\nthird\nfourth\n")
}

func TestLinesFollowTheName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	f := open(t, path)
	var writing sync.WaitGroup
	for w := range 4 {
		writing.Go(func() {
			for i := range 200 {
				add(t, f, fmt.Sprintf("%d %d\n", w, i))
			}
		})
	}
	for turn := range 10 {
		if err := os.Rename(path, fmt.Sprint(path, turn)); err != nil {
			t.Error(err)
		}
		if err := f.Reopen(); err != nil {
			t.Error(err)
		}
	}
	writing.Wait()
	files, _ := filepath.Glob(path + "*")
	lines := make(map[string]int)
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(raw)) {
			lines[line]++
		}
	}
	if len(files) != 11 || len(lines) != 800 {
		t.Errorf("%d files with %d lines", len(files), len(lines))
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Error(err)
	}
	if err := f.Reopen(); err == nil {
		t.Error("a folder was opened")
	}
	add(t, f, "still here\n")
}

func TestWhatIsNoFile(t *testing.T) {
	f := open(t, "/dev/full")
	for range 2 {
		if n, err := f.Write([]byte("line\n")); n != 0 || err == nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if _, err := Open("/nonexistent/lines", 0o600); err == nil || !strings.Contains(err.Error(), "/nonexistent/lines") {
		t.Errorf("a folder that is not there: %v", err)
	}
}
