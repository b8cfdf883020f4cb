package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"gameserverd/internal/linefile"
)

// logFile is log.file. Any goroutine.
type logFile struct {
	file   *linefile.File
	stderr io.Writer

	mu      sync.Mutex
	failing bool // guarded by mu: the last line could not be written
}

func openLogFile(path string, stderr io.Writer) (*logFile, error) {
	file, err := linefile.Open(path, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log.file: %w", err) // it names the file
	}
	return &logFile{file: file, stderr: stderr}, nil
}

// Write adds a line. One that does not go into the file, most likely on a full
// disk, goes to standard error, so that it is not lost.
func (f *logFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.file.Write(line)
	if err == nil {
		f.failing = false
		return n, nil
	}
	if !f.failing {
		f.failing = true
		fmt.Fprintf(f.stderr, "log.file: %v: what cannot be written follows here\n", err)
	}
	_, err = f.stderr.Write(line[n:])
	return len(line), err
}

// Sync does nothing: a line is with the kernel when Write returns, and a power
// cut costs the last ones.
func (f *logFile) Sync() error { return nil }

func (f *logFile) reopen() error {
	if err := f.file.Reopen(); err != nil {
		return fmt.Errorf("log.file: %w", err)
	}
	return nil
}

func (f *logFile) close() error { return f.file.Close() }

// CheckLogFile says why the file could not be added to, and makes none. Any
// goroutine.
func CheckLogFile(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		return file.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	folder := filepath.Dir(path)
	if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s cannot be made in %s: %w", filepath.Base(path), folder, err)
	}
	return nil
}
