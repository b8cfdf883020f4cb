package tasks

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hibiken/asynq"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// Whoever is retried has all its lives again: it was archived by its own failures, and the
// runs of then are no workers that died.
func TestRetriedTaskOutlivesAWorkerThatDies(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(0, nil)
		r := must(pr, of(pr, "test.fail", "100"), Retries(9, time.Millisecond))
		archived := "UPDATE tasks SET state = 3, attempts = 10, failures = 10, ended_ms = 1, look_ms = ?"
		if _, err := pr.sql.ExecContext(limited(t), archived, time.Now().Add(keepArchived).UnixMilli()); err != nil {
			t.Fatal(err)
		}
		if err := pr.Retry(limited(t), r.ID); err != nil {
			t.Fatal(err)
		}
		// A worker takes it, as takeRows does, and is killed.
		taken := "UPDATE tasks SET state = 1, claim = 77, attempts = attempts + 1, look_ms = 1"
		if _, err := pr.sql.ExecContext(limited(t), taken); err != nil {
			t.Fatal(err)
		}
		info := pr.becomes(r.ID, Waiting, 30*time.Second)
		if info.Attempts != 1 || info.Failures != 0 || info.Problem != "" {
			t.Errorf("%+v", info)
		}
	})
}

// A list of a thousand tasks with the longest arguments and problems is no more than its
// table; show has all of one.
func TestListHasNeitherArgumentsNorResults(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(0, nil)
		r := must(pr, of(pr, "test.double", strings.Repeat("x", maxArgs-10)))
		if _, err := pr.sql.ExecContext(limited(t), "UPDATE tasks SET state = 3, look_ms = 99999999999999, result = ?, problem = ?",
			[]byte(strings.Repeat("r", maxResult)), []byte(strings.Repeat("\u00fc", maxProblem/2))); err != nil {
			t.Fatal(err)
		}
		list, err := pr.List(limited(t), Archived, 1000)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d tasks, %v", len(list), err)
		}
		i := list[0]
		if len(i.Args)+len(i.Result) != 0 || len(i.Problem) == 0 || len(i.Problem) > maxListed+10 || i.ID != r.ID || i.Name != "test.double" {
			t.Errorf("the list has %d bytes of arguments, %d of the result and %d of the problem: %+v", len(i.Args), len(i.Result), len(i.Problem), i)
		}
		i, err = pr.Show(limited(t), r.ID)
		if err != nil || len(i.Args) < maxArgs-10 || len(i.Result) != maxResult || len(i.Problem) != maxProblem {
			t.Errorf("show: %d bytes of arguments, %d of the result, %d of the problem, %v", len(i.Args), len(i.Result), len(i.Problem), err)
		}
	})
}

// An ephemeral task that has failed for good is kept in Redis: it is shown and listed, is
// no task that can be revoked, and runs again when it is retried.
func TestArchivedEphemeralTaskIsSeenAndRetried(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(2, nil)
		id := wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](pr.define("test.quickfail"), "1"), Retries(0, time.Millisecond)))
		info := pr.becomes(id, Archived, 10*time.Second)
		if info.Name != "test.quickfail" || info.Queue != "default" || info.Problem != "failure 1" || info.RunMS == 0 {
			t.Errorf("show: %+v", info)
		}
		list, err := pr.List(limited(t), Archived, 10)
		if err != nil || len(list) != 1 || list[0].ID != id || list[0].Problem != "failure 1" || list[0].EndedMS == 0 || len(list[0].Args) != 0 {
			t.Errorf("list: %+v, %v", list, err)
		}
		if waiting, err := pr.Revoke(limited(t), id); waiting || wire.CodeOf(err) != wire.FailedPrecondition || !strings.Contains(err.Error(), "it is archived") {
			t.Errorf("revoke: %v, %v", waiting, err)
		}
		if info, err := pr.Show(limited(t), id); err != nil || info.state != Archived {
			t.Errorf("after the revoke: %+v, %v", info, err)
		}
		if err := pr.Archive(limited(t), id); wire.CodeOf(err) != wire.FailedPrecondition {
			t.Errorf("archive: %v", err)
		}
		if err := pr.Retry(limited(t), id); err != nil {
			t.Errorf("retry: %v", err)
		}
		eventually(t, "it has run again, before anybody looks without a reason, and is gone", 4*time.Second, func() bool {
			_, err := pr.Show(limited(t), id)
			return p.times("1") == 2 && wire.CodeOf(err) == wire.NotFound
		})
		if err := pr.Retry(limited(t), id); wire.CodeOf(err) != wire.NotFound {
			t.Errorf("retry of one that is gone: %v", err)
		}
		later := wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](pr.define("test.quick"), "later"), In(time.Hour)))
		if info, err := pr.Show(limited(t), later); err != nil || info.state != Waiting || info.RunMS < time.Now().Add(time.Minute).UnixMilli() {
			t.Errorf("show of one that waits: %+v, %v", info, err)
		}
		if err := pr.Retry(limited(t), later); wire.CodeOf(err) != wire.FailedPrecondition {
			t.Errorf("retry of one that waits: %v", err)
		}
		if waiting, err := pr.Revoke(limited(t), later); err != nil || !waiting {
			t.Errorf("revoke of one that waits: %v, %v", waiting, err)
		}
		if _, err := pr.Show(limited(t), later); wire.CodeOf(err) != wire.NotFound {
			t.Errorf("after the revoke: %v", err)
		}
	})
}

// What was kept aside because it cannot be run is listed, and says why.
func TestWhatWasKeptAsideIsListed(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(1, nil)
		client := pr.redis.Client()
		for id, msg := range map[string][]byte{
			"no-protobuf": []byte("\xff\xfe no protobuf"),
			"too-late":    foreign(t, map[protoreflect.Name]any{"id": "too-late", "queue": "default", "type": "x", "deadline": int64(1)}),
		} {
			client.HSet(limited(t), asynqKey("default", "t:"+id), "msg", msg, "state", "pending")
			client.LPush(limited(t), asynqKey("default", "pending"), id)
		}
		if _, err := pr.client.Enqueue(asynq.NewTask("no type of ours", nil), asynq.TaskID("strange"), asynq.Queue("default")); err != nil {
			t.Fatal(err)
		}
		var said string
		eventually(t, "all are listed", 15*time.Second, func() bool {
			list, err := pr.List(limited(t), Archived, 10)
			said = fmt.Sprint(list, err)
			return err == nil && len(list) == 3
		})
		for _, want := range []string{"asynq cannot read it", "a deadline of asynq's", `no type of ours`} {
			if !strings.Contains(said, want) {
				t.Errorf("not said: %s\n%s", want, said)
			}
		}
		if list, err := pr.List(limited(t), Archived, 2); err != nil || len(list) != 2 {
			t.Errorf("at most 2: %v, %v", list, err)
		}
		for _, id := range []ID{"no-protobuf", "too-late", "strange"} {
			if info, err := pr.Show(limited(t), id); err != nil || info.Problem == "" || info.state != Archived {
				t.Errorf("show %s: %+v, %v", id, info, err)
			}
			if err := pr.Retry(limited(t), id); wire.CodeOf(err) != wire.FailedPrecondition {
				t.Errorf("retry %s: %v", id, err)
			}
		}
	})
}

// With Redis away nobody knows of an ephemeral task; that is not to say that there is none.
func TestEphemeralTaskIsNotUnknownWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	p := onServers(t, storetest.MariaDB(t), server)
	pr := p.begin(0, nil)
	id := wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](pr.define("test.quick"), "q"), In(time.Hour)))
	server.Kill()
	if _, err := pr.Revoke(limited(t), id); wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("revoke: %v", err)
	}
	if _, err := pr.Show(limited(t), id); wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("show: %v", err)
	}
	if err := pr.Retry(limited(t), id); wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("retry: %v", err)
	}
	if _, err := pr.List(limited(t), Archived, 10); err != nil {
		t.Errorf("the durable ones are listed all the same: %v", err)
	}
	server.Start()
}

// Whatever Redis has, people can be shown it.
func FuzzAsRedisHas(f *testing.F) {
	f.Add("\xff\xfe no protobuf", "archived", "")
	f.Add("\x0a\x09ephemeral\x12\x01\xc1\x1a\x01i\x22\x07default\x3a\x02\xc3\xbc", "archived", "9")
	f.Add("\x0a\x01x\x1a\x01i\x22\x07default\x40\x3c", "pending", "")
	f.Fuzz(func(t *testing.T, msg, state, lost string) {
		c, ok := asRedisHas("default", "i", []any{msg, state, lost})
		switch {
		case !utf8.ValidString(c.Problem):
			t.Errorf("the problem %q", c.Problem)
		case ok && c.refused != nil && (c.state != Archived || c.Problem == ""):
			t.Errorf("it cannot be run, and is shown as %v, with the problem %q", c.state, c.Problem)
		case ok && c.refused == nil && c.message != msg:
			t.Error("another message")
		}
	})
}
