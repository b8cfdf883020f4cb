package tasks

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/wire"
)

func wantCode(t *testing.T, what string, err error, code wire.Code, text string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("%s: %v, want %s with %q", what, err, code, text)
	}
}

func TestTaskRunsAndItsResultArrives(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(4, nil)
		r := must(pr, of(pr, "test.double", "ab"), Keep(time.Minute))
		if got := wait(t, r.Result()); got != "abab" {
			t.Errorf("result %q", got)
		}
		if n := p.times("ab"); n != 1 {
			t.Errorf("ran %d times", n)
		}
		forgotten := must(pr, of(pr, "test.double", "cd"))
		eventually(t, "the row is forgotten", 10*time.Second, func() bool {
			_, err := pr.Show(limited(t), forgotten.ID)
			return err != nil && p.times("cd") == 1
		})
	})
}

func TestArgumentsAreRefusedWhenApplying(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(1, nil)
		_, err := Apply(pr.Tasks, of(pr, "test.double", strings.Repeat("x", maxArgs)))
		wantCode(t, "too long", err, wire.InvalidArgument, "at most")
		_, err = Apply(pr.Tasks, of(pr, "test.double", make(chan int)))
		wantCode(t, "a channel", err, wire.InvalidArgument, "argument s string")
		_, err = Apply(pr.Tasks, of(pr, "test.double", "x"), Queue("nowhere"))
		wantCode(t, "no such queue", err, wire.InvalidArgument, "nowhere")
		_, err = pr.RunNow(limited(t), "test.double", wire.AppendInt(wire.AppendArray(nil, 1), 7))
		wantCode(t, "an integer", err, wire.InvalidArgument, "argument s")
		_, err = pr.RunNow(limited(t), "test.double", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
		wantCode(t, "hostile bytes", err, wire.InvalidArgument, "MessagePack")
		_, err = pr.RunNow(limited(t), "test.none", wire.AppendArray(nil, 0))
		wantCode(t, "no such task", err, wire.NotFound, "test.none")
	})
}

func TestCountdownIsNeverEarlyAndHardlyLate(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(4, nil)
		rng := seeded(t)
		for range 3 {
			in := time.Duration(rng.IntN(2000)) * time.Millisecond
			begun := time.Now()
			r := must(pr, of(pr, "test.double", "x"), In(in), Keep(time.Minute))
			wait(t, r.Result())
			info, err := pr.Show(limited(t), r.ID)
			if err != nil {
				t.Fatal(err)
			}
			took := time.UnixMilli(info.EndedMS).Sub(begun)
			if took < in-time.Millisecond || took > in+2500*time.Millisecond {
				t.Errorf("in %v: ended after %v", in, took)
			}
		}
	})
}

func TestFailuresAreTriedAgainThenArchived(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(4, nil)
		better := must(pr, of(pr, "test.fail", "2"), Retries(2, 10*time.Millisecond), Keep(time.Minute))
		poison := must(pr, of(pr, "test.poison", "poison"), Retries(1, 10*time.Millisecond))
		other := must(pr, of(pr, "test.double", "other"), Keep(time.Minute))
		if got := wait(t, other.Result()); got != "otherother" {
			t.Error(got)
		}
		if got := wait(t, better.Result()); got != "at last" || p.times("2") != 3 {
			t.Errorf("%q after %d runs", got, p.times("2"))
		}
		info := pr.becomes(poison.ID, Archived, 20*time.Second)
		if !strings.Contains(info.Problem, "slice bounds out of range") || !strings.Contains(info.Problem, "rig_test.go") || p.times("poison") != 2 {
			t.Errorf("after %d runs: %+v", p.times("poison"), info)
		}
		if err := pr.Retry(limited(t), poison.ID); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is tried again", 20*time.Second, func() bool { return p.times("poison") == 4 })
	})
}

func TestUniqueWithinItsWindow(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(4, nil)
		must(pr, of(pr, "test.double", "u"), Unique("key", time.Second))
		again, err := Apply(pr.Tasks, of(pr, "test.double", "u"), Unique("key", time.Second))
		if err != nil {
			t.Fatal(err)
		}
		_, err = again.Stored().Wait(limited(t))
		wantCode(t, "within the window", err, wire.AlreadyExists, "key")
		eventually(t, "after the window", 10*time.Second, func() bool {
			r, err := Apply(pr.Tasks, of(pr, "test.double", "u"), Unique("key", time.Second))
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Stored().Wait(limited(t))
			return err == nil
		})
	})
}

func TestRevoke(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		applier, worker := p.begin(0, nil), p.begin(4, nil)
		later := must(applier, of(applier, "test.double", "later"), In(1500*time.Millisecond))
		if waiting, err := applier.Revoke(limited(t), later.ID); err != nil || !waiting {
			t.Errorf("waiting %v: %v", waiting, err)
		}
		_, err := applier.Revoke(limited(t), later.ID)
		wantCode(t, "twice", err, wire.FailedPrecondition, "revoked already")

		running := must(applier, of(applier, "test.wait", "running"))
		eventually(t, "it runs", 10*time.Second, func() bool { return p.times("running") == 1 })
		begun := time.Now()
		if waiting, err := applier.Revoke(limited(t), running.ID); err != nil || waiting {
			t.Errorf("waiting %v: %v", waiting, err)
		}
		worker.becomes(running.ID, Revoked, 10*time.Second)
		t.Logf("cancelled in another process after %v", time.Since(begun))
		_, err = applier.Revoke(limited(t), running.ID)
		wantCode(t, "after its end", err, wire.FailedPrecondition, "revoked already")

		done := must(applier, of(applier, "test.double", "done"), Keep(time.Minute))
		wait(t, done.Result())
		_, err = applier.Revoke(limited(t), done.ID)
		wantCode(t, "too late", err, wire.FailedPrecondition, "has ended")
		_, err = applier.Revoke(limited(t), "12345")
		wantCode(t, "never applied", err, wire.NotFound, "12345")
		if n := p.times("later") + p.times("running"); n != 1 {
			t.Errorf("%d runs", n)
		}
	})
}

func TestUnknownAndMalformedTasksAreKeptAside(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(0, nil)
		unknown := must(pr, Make[string](&Definition{Name: "test.gone", Retries: -1}), Keep(time.Minute))
		malformed := must(pr, Make[string](&Definition{Name: "test.double", Params: []string{"n", "m"}}, 1, 2), Keep(time.Minute))
		worker := p.begin(2, nil)
		if info := worker.becomes(unknown.ID, Archived, 20*time.Second); !strings.Contains(info.Problem, `no task "test.gone"`) {
			t.Errorf("%+v", info)
		}
		if info := worker.becomes(malformed.ID, Archived, 20*time.Second); !strings.Contains(info.Problem, "takes 1 arguments (s), got 2") {
			t.Errorf("%+v", info)
		}
	})
}

func TestWhatIsNotCommittedNeverRuns(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(2, nil)
		// A change that fails takes the task's row with it: both or neither.
		r, o, err := pr.newRow(&job{def: pr.define("test.double"), args: newJob(pr.define("test.double"), []any{"never"}).args}, nil)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		rows := append(pr.rows(r, o), commit.Row{Op: commit.Insert, Table: keysTable, Values: []any{"k", int64(1), int64(1 << 60)}})
		for range 2 {
			c := &commit.Change{Home: inline{}, Rows: rows[1:], Done: func(o commit.Outcome) { failed <- o.Err }}
			if len(failed) == 1 {
				<-failed
				c.Rows = rows
			}
			if err := pr.group.Submit(c); err != nil {
				t.Fatal(err)
			}
			eventually(t, "done", 5*time.Second, func() bool { return len(failed) == 1 })
		}
		if err := <-failed; !errors.Is(err, commit.ErrDuplicate) {
			t.Fatal(err)
		}
		if _, err := pr.Show(limited(t), durableID(r.id)); err == nil {
			t.Error("the row is there")
		}
	})
}

func TestEphemeral(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(4, nil)
		quick := func(name, s string, list ...Option) ID {
			return wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](pr.define(name), s), list...))
		}
		quick("test.quick", "q")
		eventually(t, "it runs", 10*time.Second, func() bool { return p.times("q") == 1 })
		quick("test.quickfail", "qf", Retries(1, time.Millisecond))
		eventually(t, "it is tried again", 10*time.Second, func() bool { return p.times("qf") == 2 })
		later := quick("test.quick", "ql", In(2*time.Second))
		if waiting, err := pr.Revoke(limited(t), later); err != nil || !waiting {
			t.Errorf("waiting %v: %v", waiting, err)
		}
		running := quick("test.quickwait", "qw")
		eventually(t, "it runs", 10*time.Second, func() bool { return p.times("qw") == 1 })
		if _, err := pr.Revoke(limited(t), running); err != nil {
			t.Error(err)
		}
		eventually(t, "it ends", 10*time.Second, func() bool { return pr.Counters().Revoked == 2 })
		if _, err := pr.Revoke(limited(t), running); err == nil {
			t.Error("revoked twice")
		}
		if p.times("ql")+p.times("qw") != 1 {
			t.Error("a revoked task ran")
		}
		if c := pr.Counters(); c.Archived != 1 {
			t.Errorf("%+v", c)
		}
	})
}

func TestIDsAreNeverTheSame(t *testing.T) {
	i := newIDs()
	now := time.Now()
	last := int64(0)
	for n := range 200_000 {
		if n%5000 == 0 {
			now = now.Add(time.Duration(n%3-1) * time.Millisecond) // also backwards
		}
		if id := i.next(now); id <= last {
			t.Fatalf("%d after %d", id, last)
		} else {
			last = id
		}
	}
}
