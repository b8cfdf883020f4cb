// Package linefile is a file that lines are added to and that is opened again by its
// name: the log and the audit log. It decides nothing about what the lines say, and
// what becomes of those that do not fit.
//
// Invariant: each line begins where a line begins. One that does not fit whole, most
// likely on a full disk, is taken back; where that cannot be, the next ends it.
package linefile

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// File is the file. Any goroutine.
type File struct {
	// immutable after Open
	path string
	mode os.FileMode

	mu   sync.Mutex // guards what follows
	file *os.File
	torn bool // it ends within a line
}

// Open opens the file at path, which it makes with that mode if it is not there. It does
// not wait for a reader of a named pipe: a reload must not hang. An error is an
// *os.PathError. Any goroutine.
func Open(path string, mode os.FileMode) (*File, error) {
	f := &File{path: path, mode: mode}
	file, torn, err := f.open()
	if err != nil {
		return nil, err
	}
	f.file, f.torn = file, torn
	return f, nil
}

func (f *File) open() (file *os.File, torn bool, err error) {
	file, err = os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|unix.O_NONBLOCK, f.mode)
	if err != nil {
		return nil, false, err
	}
	return file, endsWithinALine(file, f.path), nil
}

// endsWithinALine tells whether a life before has left half a line; false where that
// cannot be found out.
func endsWithinALine(file *os.File, path string) bool {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	again, err := os.Open(path)
	if err != nil {
		return false
	}
	defer again.Close()
	last := make([]byte, 1)
	_, err = again.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// Write adds a line, which ends with a newline. With an error n is how much of it is in
// the file: 0 where it could be taken back. Any goroutine.
func (f *File) Write(line []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.torn {
		if _, err := f.file.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		f.torn = false
	}
	n, err = f.file.Write(line)
	if err != nil && n > 0 {
		if f.takeBackLocked(n) {
			return 0, err
		}
		f.torn = true
	}
	return n, err
}

// takeBackLocked takes the last n bytes that were written out of the file, unless somebody
// else has written behind them, or it is no file that can be cut.
func (f *File) takeBackLocked(n int) bool {
	end, err := f.file.Seek(0, io.SeekCurrent) // where the last write has ended
	if err != nil {
		return false
	}
	info, err := f.file.Stat()
	return err == nil && info.Mode().IsRegular() && info.Size() == end && f.file.Truncate(end-int64(n)) == nil
}

// Reopen opens the file again by its name, after it was moved away. With an error about
// opening it the old one is still written to. Any goroutine.
func (f *File) Reopen() error {
	file, torn, err := f.open()
	if err != nil {
		return err
	}
	f.mu.Lock()
	file, f.file, f.torn = f.file, file, torn
	f.mu.Unlock()
	if err := file.Close(); err != nil {
		return fmt.Errorf("the file that was moved away: %w", err)
	}
	return nil
}

// Close closes the file. Any goroutine.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
