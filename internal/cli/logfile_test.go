package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"gameserverd/internal/disktest"
)

// fileLog is a log into a new file.
func fileLog(t *testing.T, stderr *bytes.Buffer) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gs.log")
	log, err := NewLog(LogOptions{Level: "info", Format: "json", File: path, Stderr: stderr, Color: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log, path
}

func content(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestLogFileIsAddedTo(t *testing.T) {
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	log, path := fileLog(t, new(bytes.Buffer))
	log.Info("first")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	again, err := NewLog(LogOptions{Level: "info", Format: "console", File: path, Stderr: os.Stderr, Color: true})
	if err != nil {
		t.Fatal(err)
	}
	again.Warn("second")
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if got := content(t, path); !strings.Contains(got, `"msg":"first"`) || !strings.Contains(got, "WARN  second") || strings.Contains(got, "\x1b") {
		t.Errorf("the file has\n%s", got)
	}
}

// The file is moved away and reopened while many write: each line is in one of
// the files, once and whole.
func TestLogFileIsReopenedWithoutLosingALine(t *testing.T) {
	const writers, lines, turns = 4, 500, 20
	stderr := new(bytes.Buffer)
	log, path := fileLog(t, stderr)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range lines {
				log.Warn("call abandoned", zap.Int("writer", w), zap.Int("i", i)) // which is never left out
			}
		})
	}
	for turn := range turns {
		if err := os.Rename(path, fmt.Sprint(path, ".", turn)); err != nil {
			t.Error(err)
		}
		if err := log.Reopen(); err != nil {
			t.Error(err)
		}
	}
	writing.Wait()
	log.Warn("the end")
	if !strings.Contains(content(t, path), `"msg":"the end"`) {
		t.Error("the last line is not in the last file")
	}
	var all string
	for turn := range turns {
		all += content(t, fmt.Sprint(path, ".", turn))
	}
	all += content(t, path)
	for w := range writers {
		for i := range lines {
			if n := strings.Count(all, fmt.Sprintf("\"writer\":%d,\"i\":%d}\n", w, i)); n != 1 {
				t.Errorf("line %d of writer %d is there %d times", i, w, n)
			}
		}
	}
	if stderr.Len() > 0 {
		t.Errorf("on standard error: %s", stderr)
	}
}

func TestLogFileThatCannotBeReopenedIsKept(t *testing.T) {
	log, path := fileLog(t, new(bytes.Buffer))
	moved := path + ".1"
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := log.Reopen(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a folder was opened: %v", err)
	}
	log.Info("still here")
	if !strings.Contains(content(t, moved), "still here") {
		t.Error("the old file is not written to any more")
	}
}

// What a full disk does not take is on standard error.
func TestLogFileOnAFullDisk(t *testing.T) {
	stderr := new(bytes.Buffer)
	log, err := NewLog(LogOptions{Level: "info", Format: "json", File: "/dev/full", Stderr: stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	log.Info("first")
	log.Info("second")
	got := stderr.String()
	if strings.Count(got, "no space left on device") != 1 || !strings.Contains(got, `"msg":"first"`) || !strings.Contains(got, `"msg":"second"`) {
		t.Errorf("standard error has\n%s", got)
	}
}

// A disk that was full in the middle of a line damaged the next line.
func TestLogFileAfterAFullDisk(t *testing.T) {
	stderr := new(bytes.Buffer)
	log, path := fileLog(t, stderr)
	log.Info("before")
	disktest.Full(t, path, 20, func() { log.Info("full") })
	log.Info("after")
	var all []string
	for line := range strings.Lines(content(t, path)) {
		var one struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		all = append(all, one.Msg)
	}
	if got := strings.Join(all, " "); got != "before after" || !strings.Contains(stderr.String(), `"msg":"full"}`+"\n") {
		t.Errorf("the file has %q, standard error\n%s", got, stderr)
	}
}

func TestCheckLogFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gs.log")
	if err := CheckLogFile(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the check has made the file: %v", err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckLogFile(path); err != nil || content(t, path) != "x" {
		t.Errorf("%v, and the file has %q", err, content(t, path))
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "absent", "gs.log"), path + "/x", pipe} {
		if err := CheckLogFile(bad); err == nil {
			t.Errorf("%s is good", bad)
		}
		if log, err := NewLog(LogOptions{File: bad, Stderr: os.Stderr}); err == nil {
			t.Errorf("%s was opened", bad)
			log.Close()
		}
	}
}

func TestLogLevelChanges(t *testing.T) {
	var b bytes.Buffer
	log := logTo(t, &b, "info", "json", false)
	named := log.With(zap.String("part", "x")) // made before the change
	for _, step := range []struct {
		level string
		want  int // lines of the four
	}{{"info", 3}, {"debug", 4}, {"error", 1}, {"warn", 2}} {
		log.SetLevel(step.level)
		b.Reset()
		named.Debug("d")
		named.Info("i")
		named.Warn("w")
		named.Error("e")
		if n := strings.Count(b.String(), "\n"); n != step.want || log.Level() != step.level {
			t.Errorf("%s, called %s, writes %d lines", step.level, log.Level(), n)
		}
	}
}
