package store

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"gameserverd/wire"
)

// laneStats waits until a lane has counted so many answers, which it does a moment after it has given them.
func laneStats(t *testing.T, l *lane, answers uint64) (s Stats) {
	t.Helper()
	until(t, "all answers are counted", func() bool {
		s = Stats{}
		l.stats(&s)
		return s.Time.Count() >= answers
	})
	return s
}

// Whoever answers a call, the lane, its deadline, its caller or close, it is counted once.
func TestLaneCountsEachAnswerOnce(t *testing.T) {
	l := newLane(1, 2)
	hung, release := hold(t, l, 10*time.Millisecond, nil)
	ctx, giveUp := context.WithCancel(context.Background())
	left := submit(l, ctx, never, nil, func(*call) (int, error) { return 3, nil })
	last := quick(l, never)
	if s := laneStats(t, l, 0); s.Waiting != 2 {
		t.Errorf("%d wait, want 2", s.Waiting)
	}
	if _, err := wait(t, quick(l, never)); wire.CodeOf(err) != wire.ResourceExhausted {
		t.Fatalf("one too many: %v", err)
	}
	giveUp()
	_, err := wait(t, left)
	wantCode(t, "the caller gave up", err, wire.Canceled)
	_, err = wait(t, hung)
	wantCode(t, "the time was over", err, wire.Unavailable)
	release() // and the driver comes back all the same
	if _, err := wait(t, last); err != nil {
		t.Fatal(err)
	}
	until(t, "the lane is idle", func() bool { return idle(l) })
	s := laneStats(t, l, 3)
	want := map[wire.Code]uint64{wire.ResourceExhausted: 1, wire.Canceled: 1, wire.Unavailable: 1}
	if s.Time.Count() != 3 || s.Waiting != 0 || !maps.Equal(s.Errors, want) {
		t.Errorf("%d answers, %d wait, errors %v; want 3, 0, %v", s.Time.Count(), s.Waiting, s.Errors, want)
	}
	if s.Time.Sum < uint64(10*time.Millisecond) {
		t.Errorf("%v in all, the one that hung took 10 ms", time.Duration(s.Time.Sum))
	}
}

func TestSQLStats(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1, 2)
		r.one(t, readN, 1)
		if _, err := wait(t, r.Exec("INSERT INTO counter (k, n) VALUES (?, 0)", 1)); !IsDuplicate(err) {
			t.Fatalf("a second row: %v", err)
		}
		if _, err := wait(t, r.FetchAll("SELECT nothing FROM nowhere")); err == nil {
			t.Fatal("there is nothing to read")
		}
		refused := errors.New("no")
		if _, err := wait(t, r.Transact(func(context.Context, *Tx) error { return refused })); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		var s Stats
		until(t, "all calls are counted", func() bool { s = r.Stats(); return s.Time.Count() >= 7 })
		want := map[wire.Code]uint64{wire.AlreadyExists: 1, wire.Internal: 2}
		if s.Time.Count() != 7 || s.Time.Sum == 0 || !maps.Equal(s.Errors, want) {
			t.Errorf("%d calls in %v, errors %v; want 7, %v", s.Time.Count(), time.Duration(s.Time.Sum), s.Errors, want)
		}
		until(t, "no connection is in use", func() bool { s = r.Stats(); return s.Busy == 0 })
		if s.Idle == 0 || s.Waiting != 0 {
			t.Errorf("%d connections idle, %d calls wait", s.Idle, s.Waiting)
		}
		held := r.conn(t)
		if s := r.Stats(); s.Busy != 1 {
			t.Errorf("%d connections busy with a Conn", s.Busy)
		}
		held.Discard()
		clear(s.Errors)
		if again := r.Stats(); !maps.Equal(again.Errors, want) {
			t.Errorf("a copy is not the caller's: %v", again.Errors)
		}
	})
}

func TestRedisStats(t *testing.T) {
	r, server := openEmbedded(t, nil)
	for _, cmd := range []string{"SET", "SET", "INCR"} {
		args := map[string][]any{"SET": {"k", "v"}, "INCR": {"k"}}[cmd]
		wait(t, r.Execute(cmd, args...)) // the last is refused: no number
	}
	wait(t, r.Batch(Command{"GET", "k"}, Command{"GET", "k"})) // one call
	wait(t, r.Execute("SELECT", 1))                            // no call at all
	var s Stats
	until(t, "all calls are counted", func() bool { s = r.Stats(); return s.Time.Count() >= 4 })
	want := map[wire.Code]uint64{wire.Internal: 1}
	if s.Time.Count() != 4 || !maps.Equal(s.Errors, want) {
		t.Errorf("%d calls, errors %v; want 4, %v", s.Time.Count(), s.Errors, want)
	}
	if s.Idle == 0 || s.Busy != 0 || s.Waiting != 0 {
		t.Errorf("%d connections idle, %d busy, %d calls wait", s.Idle, s.Busy, s.Waiting)
	}
	server.Close()
	wait(t, r.Execute("GET", "k"))
	until(t, "the failure is counted", func() bool { return r.Stats().Errors[wire.Unavailable] == 1 })
}
