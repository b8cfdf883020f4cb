package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// tableRows is how many rows of a table were copied.
type tableRows struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// How often progress is shown: on a terminal, in one line; otherwise in lines of
// their own.
const (
	stepOnTerminal = 100 * time.Millisecond
	stepInLog      = 2 * time.Second
)

// copyProgress shows how far a copy is, and keeps how many rows there were.
type copyProgress struct {
	w        io.Writer
	terminal bool
	tables   []tableRows
	shown    time.Time
}

// step is for schema.Copy.
func (p *copyProgress) step(table string, rows, of int64) {
	if !strings.Contains(table, ",") && rows == of { // "players, compared" is the second time
		p.tables = append(p.tables, tableRows{table, rows})
	}
	every := stepInLog
	if p.terminal {
		every = stepOnTerminal
	}
	if rows != of && time.Since(p.shown) < every {
		return
	}
	p.shown = time.Now()
	before, after := "", "\n"
	if p.terminal {
		before, after = "\r\x1b[K", ""
	}
	fmt.Fprintf(p.w, "%s%s: %d of %d rows%s", before, table, rows, of, after)
}

// end clears the line on a terminal.
func (p *copyProgress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
