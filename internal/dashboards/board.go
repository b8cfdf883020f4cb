package dashboards

import "gameserverd/internal/metrics"

// board is one dashboard; its rows and panels are in the order in which they matter.
type board struct {
	name        string // of the file and, behind "gameserverd-", of the board
	title       string
	description string
	method      bool // whether it has the variable method
	rows        []row
}

// row is a line of panels with a title, or without one at the top of a board.
type row struct {
	title  string
	panels []panel
}

// show is what a panel looks like.
type show uint8

const (
	lines  show = iota // over time
	areas              // over time, stacked
	number             // the latest value, large
	table              // a line for each value of a label, over the whole time shown
)

// panel is one picture and what it asks.
type panel struct {
	title       string
	description string // what is seen, and what is worth a look
	show        show
	unit        unit
	width       int     // of 24; 0: 8, of a number 4
	steps       []step  // from where on it is yellow or red; lines get a mark there
	max         float64 // of the axis; 0: as the values are
	words       []word  // instead of numbers
	runbook     string  // heading of docs/operations.md that says what to do; "": none
	by          string  // the label of a table's lines
	none        string  // what a number shows where nothing was measured
	series      []series
}

// series is one query: what is drawn for each set of labels that its value is by.
type series struct {
	legend string // with {{label}}
	value  expr
	unit   unit // of a table's column; "": the panel's
}

// step is a threshold.
type step struct {
	from  float64
	color string
}

// word is a value's text.
type word struct {
	value       int
	text, color string
}

// unit is Grafana's name of a unit.
type unit string

const (
	amount      unit = "short"
	perSecond   unit = "ops"
	inBytes     unit = "bytes"
	bytesPerSec unit = "Bps"
	inSeconds   unit = "s"
	share       unit = "percentunit"
	fromNow     unit = "dateTimeFromNow" // of milliseconds since 1970
)

// The colors of steps and words.
const (
	green  = "green"
	yellow = "yellow"
	red    = "red"
	blue   = "blue"
)

// warnAt marks where it becomes worth a look, and where it hurts.
func warnAt(warn, bad float64) []step {
	return []step{{warn, yellow}, {bad, red}}
}

// badAt marks one bound.
func badAt(bad float64) []step { return []step{{bad, red}} }

// goodFrom is red below.
func goodFrom(v float64) []step { return []step{{0, red}, {v, green}} }

// Families of Go's and the process' collectors, which are no part of the catalogue.
var (
	processCPU    = &metrics.Family{Name: "process_cpu_seconds_total", Kind: metrics.Counter}
	processMemory = &metrics.Family{Name: "process_resident_memory_bytes", Kind: metrics.Gauge}
	processFiles  = &metrics.Family{Name: "process_open_fds", Kind: metrics.Gauge}
	processStart  = &metrics.Family{Name: "process_start_time_seconds", Kind: metrics.Gauge}
	goHeap        = &metrics.Family{Name: "go_memstats_heap_inuse_bytes", Kind: metrics.Gauge}
	goRoutines    = &metrics.Family{Name: "go_goroutines", Kind: metrics.Gauge}
)

// boards are all of them, in the order of docs/monitoring.md.
func boards() []board {
	return []board{overviewBoard(), methodsBoard(), loopsBoard(), storesBoard(), tasksBoard(), limitsBoard()}
}
