package boards

import (
	_ "embed"
	"errors"
	"strconv"
	"strings"

	"gameserverd/internal/store"
)

// What an index in Redis consists of, and what every script begins with: scripts/head.lua.
var (
	//go:embed scripts/head.lua
	headText string
	//go:embed scripts/begin.lua
	beginText string
	//go:embed scripts/put.lua
	putText string
	//go:embed scripts/merge.lua
	mergeText string
	//go:embed scripts/rows.lua
	rowsText string

	beginScript = store.NewScript(headText + beginText)
	putScript   = store.NewScript(headText + putText)
	mergeScript = store.NewScript(headText + mergeText)
	rowsScript  = store.NewScript(headText + rowsText)
)

// keysOf are the keys of a board. The braces make a cluster look at the board's name alone.
func keysOf(board string) []string {
	tag := "boards:{" + board + "}:"
	return []string{tag + "order", tag + "who", tag + "meta", tag + "renamed"}
}

// state is what a script found the index to be.
type state int64

const (
	broken state = iota // it has lost something; the script did nothing
	part                // it lacks rows of SQL
	whole
)

// known is what a process knows of an index in Redis, told to every script.
type known struct {
	epoch string // "": nothing yet
	acked int64  // the number of its last write in that epoch that was acknowledged
}

// answer is what all scripts return.
type answer struct {
	state state
	epoch string
	rest  []any
}

var errAnswer = errors.New("boards: a script's answer is not as it should be")

func parseAnswer(r store.Reply) (answer, error) {
	values, _ := r.Value().([]any)
	if len(values) < 2 {
		return answer{}, errAnswer
	}
	s, ok := values[0].(int64)
	epoch, is := values[1].(string)
	if !ok || !is || s < int64(broken) || s > int64(whole) {
		return answer{}, errAnswer
	}
	return answer{state: state(s), epoch: epoch, rest: values[2:]}, nil
}

// The lengths in "CAME UID": fixed, so that texts are in the order of the numbers.
const (
	cameLen   = 16
	uidLen    = 20
	memberLen = cameLen + 1 + uidLen
)

func uidText(uid uint64) string  { return string(appendPadded(nil, uid, uidLen)) }
func cameText(came int64) string { return string(appendPadded(nil, uint64(came), cameLen)) }

// appendPadded appends n with zeros before it.
func appendPadded(b []byte, n uint64, width int) []byte {
	end := len(b) + width
	b = append(b, "00000000000000000000"[:width]...)
	for i := end - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// appendRow appends "CAME UID", which is memberLen long, and "CAME SCORE TICK NAME".
func appendRow(b []byte, e Entry, order int64, tick string) []byte {
	came := len(b)
	b = append(appendPadded(b, uint64(e.Came), cameLen), ' ')
	b = appendPadded(b, e.UID, uidLen)
	b = append(append(b, b[came:came+cameLen]...), ' ')
	b = append(strconv.AppendInt(b, order, 10), ' ')
	b = append(append(b, tick...), ' ')
	return append(b, e.Name...)
}

// parseRows reads {first, {member, ...}, {value, ...}}; none if the player was not there.
func parseRows(rest []any, lowest bool) (rows []Ranked, there bool, err error) {
	if len(rest) == 0 {
		return nil, false, errAnswer
	}
	first, ok := rest[0].(int64)
	switch {
	case ok && first < 0:
		return nil, false, nil
	case !ok || len(rest) != 3:
		return nil, false, errAnswer
	}
	entries, isEntries := rest[1].([]any)
	values, isValues := rest[2].([]any)
	if !isEntries || !isValues || len(entries) != len(values) {
		return nil, false, errAnswer
	}
	rows = make([]Ranked, len(values))
	for i := range rows {
		rows[i].Rank = first + int64(i) + 1
		if err := rows[i].parse(entries[i], values[i], lowest); err != nil {
			return nil, false, err
		}
	}
	return rows, true, nil
}

// parse reads one row: "CAME UID" and "CAME SCORE TICK NAME".
func (r *Ranked) parse(member, value any, lowest bool) error {
	m, _ := member.(string)
	v, _ := value.(string)
	_, uid, _ := strings.Cut(m, " ")
	parts := strings.SplitN(v, " ", 4)
	if len(parts) != 4 {
		return errAnswer
	}
	number, err1 := strconv.ParseUint(uid, 10, 64)
	order, err2 := strconv.ParseInt(parts[1], 10, 64)
	if err1 != nil || err2 != nil {
		return errAnswer
	}
	r.UID, r.Name, r.Score = number, parts[3], signed(order, lowest)
	return nil
}
