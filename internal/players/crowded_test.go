package players

import (
	"runtime"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/wire"
)

// stuck makes uid's next change of n wait until the function that it returns is
// called, as a COMMIT without an answer does.
func (n *node) stuck(uid uint64) (release func()) {
	var e *entry
	n.on(uid, func() {
		e = n.shard(uid).entry(uid)
		e.busy, e.loading = true, true
	})
	return func() { n.on(uid, func() { e.took(nil, func(error) {}) }) }
}

// What was answered because its time was over waits no longer: while the outcome
// of one change is not known, however long, others may be asked for again.
func TestWhatWasGivenUpTakesNoPlaceInTheQueue(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(2)
	release := n.stuck(2)
	for range 2 {
		var last *future.Future[int64]
		for range maxQueue {
			last = give(n.Players, 2, 1)
		}
		more := give(n.Players, 2, 1)
		if err := errOf(t, more); wire.CodeOf(err) != wire.ResourceExhausted {
			t.Errorf("one more than wait: %v", err)
		}
		n.loops[0].advance(testTimeout)
		if err := errOf(t, last); wire.CodeOf(err) != wire.Unavailable {
			t.Errorf("after the time: %v", err)
		}
	}
	last := give(n.Players, 2, 1)
	release()
	if got := must(t, last); got != 101 {
		t.Errorf("gold %d: something that was given up was done", got)
	}
}

// The same for those who wait to read.
func TestLooksThatWaitForALoadAreBounded(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(2)
	n.logout(2)
	n.loops[0].advance(time.Hour)
	release := n.stuck(2)
	look := func() *future.Future[int64] {
		return Look(n.Players, 2, func(s *State) (int64, error) { return s.Player.Gold, nil })
	}
	for range 2 {
		for range maxQueue {
			look()
		}
		if err := errOf(t, look()); wire.CodeOf(err) != wire.ResourceExhausted {
			t.Errorf("one more than wait: %v", err)
		}
		n.loops[0].advance(testTimeout)
	}
	n.on(2, func() {
		if e := n.shard(2).entries[2]; e.loaded || len(e.looks) != maxQueue {
			t.Errorf("loaded %v, %d looks wait", e.loaded, len(e.looks))
		}
	})
	release()
}

// What a caller gave is not kept until the store answers when the caller is gone.
func TestWhatWasGivenUpIsNotKept(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(2)
	release := n.stuck(2)
	freed := make(chan struct{})
	func() {
		value := make([]byte, 64<<10)
		runtime.AddCleanup(&value[0], func(int) { close(freed) }, 0)
		put := Change(n.Players, 2, func(d *Draft) (int, error) {
			d.PutSave("k", game.Save{Value: value, Version: 1})
			return 0, nil
		})
		n.on(2, func() {}) // it waits
		n.loops[0].advance(testTimeout)
		if err := errOf(t, put); wire.CodeOf(err) != wire.Unavailable {
			t.Error(err)
		}
	}()
	for ctx := testContext(t); ; {
		runtime.GC()
		select {
		case <-freed:
			release()
			return
		case <-ctx.Done():
			t.Fatal("the value of a change that was given up is still there")
		default:
			runtime.Gosched()
		}
	}
}
