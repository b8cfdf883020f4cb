package embedded

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// Bounds of one request, for a client that has lost its way; Redis has them too.
const (
	maxArguments = 1 << 20
	maxArgument  = 64 << 20 // bytes
)

var errProtocol = errors.New("embedded redis: not a request")

// readRequest reads a command and its arguments, which are at least the name:
//
//	*3\r\n $3\r\nSET\r\n $1\r\nk\r\n $5\r\nvalue\r\n
func readRequest(r *bufio.Reader) ([]string, error) {
	n, err := readCount(r, '*', maxArguments)
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, errProtocol
	}
	args := make([]string, 0, min(n, 1024)) // the count is a claim; the rest grows with what is there
	for range n {
		size, err := readCount(r, '$', maxArgument)
		if err != nil {
			return nil, err
		}
		arg, err := readBytes(r, size)
		if err != nil {
			return nil, err
		}
		args = append(args, string(arg))
	}
	return args, nil
}

// readCount reads the line of a mark and a number of at most `most`.
func readCount(r *bufio.Reader, mark byte, most int) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 4 || line[0] != mark || line[len(line)-2] != '\r' {
		return 0, errProtocol
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil || n < 0 || n > most {
		return 0, errProtocol
	}
	return n, nil
}

// readBytes reads so many bytes and the line's end after them.
func readBytes(r *bufio.Reader, size int) ([]byte, error) {
	buf := make([]byte, size+2)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	if buf[size] != '\r' || buf[size+1] != '\n' {
		return nil, errProtocol
	}
	return buf[:size], nil
}
