package store

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// control is what a statement does to its connection's transaction.
type control uint8

const (
	plain     control = iota // nothing
	begins                   // BEGIN, START TRANSACTION
	commits                  // COMMIT, END
	rollsBack                // ROLLBACK, but not to a savepoint
)

// controlOf looks at a statement's first word, behind lines of comment.
func controlOf(query string) control {
	word, rest := query, ""
	for {
		word = strings.TrimLeft(word, " \t\r\n;")
		comment, is := strings.CutPrefix(word, "--")
		if !is {
			break
		}
		_, word, _ = strings.Cut(comment, "\n")
	}
	if i := strings.IndexAny(word, " \t\r\n;"); i >= 0 {
		word, rest = word[:i], word[i:]
	}
	switch strings.ToUpper(word) {
	case "BEGIN", "START":
		return begins
	case "COMMIT", "END":
		return commits
	case "ROLLBACK":
		if !strings.Contains(strings.ToUpper(rest), "TO") {
			return rollsBack
		}
	}
	return plain
}

var errControl = errors.New("a transaction is begun and ended by Transact, or on a Conn")

// placeholders counts the ? of a statement that stand for arguments: those outside of quotes and comments.
func placeholders(query string) (n int) {
	for query != "" {
		begin, end := query[:1], ""
		switch {
		case begin == "?":
			n++
		case begin == "'" || begin == `"` || begin == "`":
			end = begin
		case strings.HasPrefix(query, "--"):
			begin, end = "--", "\n"
		case strings.HasPrefix(query, "/*"):
			begin, end = "/*", "*/"
		}
		query = query[len(begin):]
		if end != "" {
			_, query, _ = strings.Cut(query, end)
		}
	}
	return n
}

// check returns the arguments as both drivers take them, or what is wrong with them, without their values: there are more or fewer
// than placeholders, which SQLite would not mind, or one of the drivers does not take one's type, or takes it differently.
func (s *SQL) check(query string, args []any) ([]any, error) {
	args, err := checkArgs(args)
	if err == nil && s.driver == SQLite {
		if want := placeholders(query); want != len(args) {
			err = fmt.Errorf("%d arguments for %d placeholders", len(args), want)
		}
	}
	if err != nil {
		return nil, &statementError{query, err}
	}
	return args, nil
}

// checkArgs returns an error for the first argument that is a time, a struct, a pointer, a float that is not a number, an integer over
// 2^63-1 or the like. A nil []byte becomes an empty one, as SQLite has it; MySQL would make it NULL.
func checkArgs(args []any) ([]any, error) {
	var changed []any
	for i, arg := range args {
		switch v := arg.(type) {
		case nil, int64, string, int, bool, int32, uint32, uint8:
			continue
		case []byte:
			if v == nil {
				if changed == nil {
					changed = append([]any(nil), args...)
				}
				changed[i] = []byte{}
			}
			continue
		case uint64:
			if v <= math.MaxInt64 {
				continue
			}
			return nil, fmt.Errorf("argument %d is over 2^63-1", i+1)
		case float64:
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				continue
			}
			return nil, fmt.Errorf("argument %d is not a number", i+1)
		}
		if !simple(arg) {
			return nil, fmt.Errorf("argument %d has the type %T, which no column takes", i+1, arg)
		}
	}
	if changed != nil {
		return changed, nil
	}
	return args, nil
}

// simple tells whether database/sql makes an integer, a string or a bool of a value of another type.
func simple(arg any) bool {
	v := reflect.ValueOf(arg)
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.String, reflect.Bool:
		return true
	case reflect.Uint, reflect.Uint64:
		return v.Uint() <= math.MaxInt64
	default:
		return false
	}
}
