package loop

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"
)

// Slow tells of one function that holds a loop for too long.
type Slow struct {
	Loop  string        // Options.Name
	Label string        // what Enter said last, "" if the function that holds the loop did not call it
	Who   uint64        // likewise
	Took  time.Duration // how long it has lasted by now; it goes on
	Stack string        // of the loop's goroutine, one "function file:line" a line, the innermost first
}

// String is one line and the stack.
func (s Slow) String() string {
	return fmt.Sprintf("loop %s: held for %v by %q (%d)\n%s", s.Loop, s.Took, s.Label, s.Who, s.Stack)
}

// pace is what a loop shows its watchdog. The loop never reads a clock for it: it counts, and the watchdog looks whether the count
// has changed since.
type pace struct {
	on bool // immutable after New

	// loop only
	n     uint64 // the last count
	steps uint64 // functions begun, watchdog or not

	// any goroutine
	count atomic.Uint64 // odd: label and who belong to what runs now; restCount: the loop waits
	label atomic.Pointer[string]
	who   atomic.Uint64
}

// restCount is the count of a loop that waits for events. step and Enter never reach it.
const restCount = 0

// step says that another function begins.
func (p *pace) step() {
	p.steps++
	if p.on {
		p.n = (p.n + 2) &^ 1
		p.count.Store(p.n)
	}
}

// rest says that the loop waits from now on.
func (p *pace) rest() {
	if p.on {
		p.count.Store(restCount)
	}
}

// Enter names what the loop is doing from now on, until the function that the loop called returns: a method, and whose. It also
// counts as progress. The label must not change afterwards. It costs a few nanoseconds, and nothing to speak of without a watchdog. Loop only.
func (l *Loop) Enter(label *string, who uint64) {
	l.assertLoop("Enter")
	p := &l.pace
	if !p.on {
		return
	}
	if p.label.Load() != label {
		p.label.Store(label)
	}
	if p.who.Load() != who {
		p.who.Store(who)
	}
	p.n = (p.n + 2) | 1
	p.count.Store(p.n)
}

// looks is how often the watchdog looks within Options.SlowCallback. It counts looks and not time, so that a machine that slept, or a
// process that was stopped, is not taken for a loop that is held.
const looks = 4

// watch starts the watchdog for the goroutine inside Start; the returned function ends it.
func (l *Loop) watch() (stop func()) {
	if !l.pace.on {
		return func() {}
	}
	l.pace.step()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		l.watchdog(quit)
	}()
	// The label finds the loop's goroutine among all others; it also shows in profiles.
	ctx := context.Background()
	pprof.SetGoroutineLabels(pprof.WithLabels(ctx, pprof.Labels(goroutineLabel, l.goroutineLabel())))
	return func() {
		close(quit)
		<-done
		pprof.SetGoroutineLabels(ctx)
	}
}

func (l *Loop) watchdog(quit chan struct{}) {
	tick := time.NewTicker(max(l.slow/looks, time.Millisecond))
	defer tick.Stop()
	var w watcher
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		if w.look(&l.pace) {
			l.report(w.seen, time.Since(w.since))
		}
	}
}

// watcher remembers what the watchdog saw when it last looked.
type watcher struct {
	seen  uint64
	same  int       // how many looks in a row have found `seen` again
	since time.Time // of the first of them
}

// look tells whether the loop is held: once, when `looks` looks in a row have found nothing new.
func (w *watcher) look(p *pace) bool {
	count := p.count.Load()
	if count == restCount || count != w.seen {
		w.seen, w.same, w.since = count, 0, time.Now()
		return false
	}
	w.same++
	return w.same == looks
}

// report tells of the function that runs at this count, unless it has ended meanwhile.
func (l *Loop) report(count uint64, took time.Duration) {
	s := Slow{Loop: l.name, Took: took, Stack: goroutineStack(l.goroutineLabel())}
	if count&1 == 1 {
		s.Who = l.pace.who.Load()
		if label := l.pace.label.Load(); label != nil {
			s.Label = *label
		}
	}
	if l.pace.count.Load() != count {
		s.Label, s.Who, s.Stack = "", 0, "" // they may be those of what came after
	}
	l.held(s.Label)
	l.onSlow(s)
}

const goroutineLabel = "loop"

// goroutineLabel is unique among the loops of the process.
func (l *Loop) goroutineLabel() string { return fmt.Sprintf("%s@%p", l.name, l) }

// goroutineStack returns the stack of the goroutine that runs the loop with this label: the one of the profile's entries that has
// both the label and Start, since goroutines inherit the label from the one that starts them. A profile of all goroutines stops
// the program much shorter than a dump of all stacks does.
func goroutineStack(label string) string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return ""
	}
	for _, entry := range strings.Split(b.String(), "\n\n") {
		if strings.Contains(entry, label) && strings.Contains(entry, "loop.(*Loop).run+") {
			return trimProfile(entry)
		}
	}
	return ""
}

// trimProfile turns a profile's entry (a line of addresses, a line of labels, then "#\t0x1234\tfunction+0x56\t\tfile:line") into
// "function file:line" lines.
func trimProfile(entry string) string {
	var out strings.Builder
	for _, line := range strings.Split(entry, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != "#" || !strings.HasPrefix(fields[1], "0x") {
			continue
		}
		name, _, _ := strings.Cut(fields[2], "+0x")
		fmt.Fprintf(&out, "%s %s\n", name, fields[3])
	}
	return out.String()
}
