package crashtest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/internal/storetest"
)

// rewarded is a test of the daily reward: one daemon that serves, workers beside it.
type rewarded struct {
	t     *testing.T
	in    *installation
	db    *sql.DB
	rng   *rand.Rand
	serve *daemon
	told  atomic.Int64 // mail.arrived, to those online
}

const (
	rewardedPlayers = 3000
	rewardedOnline  = 5
)

func newRewarded(t *testing.T, mariadb, redis *storetest.Server) *rewarded {
	db := database{"mysql", mariadb.DSN}
	in := newInstallation(t, append(db.env(), "GAMESERVERD_STORE_REDIS_URL="+redis.URL, "GAMESERVERD_WORKER_EMBEDDED=false", "GAMESERVERD_GAME_DAILY_REWARD_AT=")...)
	s := seed(t)
	r := &rewarded{t: t, in: in, db: db.open(t), rng: rand.New(rand.NewPCG(s, 5))}
	t.Cleanup(func() { r.db.Close() })
	r.serve = in.serve()
	now := time.Now()
	for from := 1; from <= rewardedPlayers; from += 500 {
		var rows []string
		var args []any
		for uid := from; uid < from+500; uid++ {
			seen := now.Add(-time.Hour)
			if uid%3 == 0 {
				seen = now.Add(-8 * 24 * time.Hour) // too long ago
			}
			rows = append(rows, "(?, ?, 1, 100, '{}', ?, ?, 1)")
			args = append(args, uid, fmt.Sprint("player", uid), now.UnixMilli(), seen.UnixMilli())
		}
		if _, err := r.db.Exec("INSERT INTO players (uid, name, level, gold, items, created_ms, seen_ms, version) VALUES "+strings.Join(rows, ", "), args...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rewardedOnline {
		c, err := client.Dial(limit(t), r.serve.addr, client.WithoutReconnect())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		client.On(c, "mail.arrived", func(context.Context, struct {
			ID    int64
			Title string
		}) {
			r.told.Add(1)
		})
		if _, err := c.Login(limit(t), fmt.Sprintf("dev:%d", 1+i*3)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// tasks runs gameserverd tasks.
func (r *rewarded) tasks(into any, args ...string) {
	r.t.Helper()
	cmd := exec.Command(binary, append([]string{"tasks", "--json"}, args...)...)
	cmd.Dir, cmd.Env = r.in.dir, r.in.env
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		r.t.Fatalf("gameserverd tasks %q: %v\n%s", args, err, out)
	}
}

// begin applies the reward of a day and returns its task.
func (r *rewarded) begin(day string) (id string) {
	r.t.Helper()
	var done struct{ ID string }
	r.tasks(&done, "run", "reward.daily", fmt.Sprintf("%q", day), fmt.Sprint(time.Now().Add(-7*24*time.Hour).UnixMilli()))
	return done.ID
}

// mails counts the day's mails, and the players who have one.
func (r *rewarded) mails(day string) (mails, players int) {
	r.t.Helper()
	err := r.db.QueryRow("SELECT COUNT(*), COUNT(DISTINCT uid) FROM mail WHERE source = ?", "daily reward "+day).Scan(&mails, &players)
	if err != nil {
		r.t.Fatal(err)
	}
	return mails, players
}

func (r *rewarded) until(what string, ok func() bool) {
	r.t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for late := time.Now().Add(deadline); !ok(); <-look.C {
		if time.Now().After(late) {
			r.t.Fatalf("not in %v: %s\n%s", deadline, what, r.serve.log)
		}
	}
}

// ends waits for the end of a task.
func (r *rewarded) ends(id string) {
	r.t.Helper()
	r.until("the task is done", func() bool {
		var task struct{ State string }
		r.tasks(&task, "show", id)
		return task.State == "done"
	})
}

// check compares with what is promised: one mail for each who was seen lately.
func (r *rewarded) check(day string, told int64) {
	r.t.Helper()
	want := rewardedPlayers - rewardedPlayers/3
	if mails, players := r.mails(day); mails != want || players != want {
		r.t.Errorf("%s: %d mails for %d players, want %d", day, mails, players, want)
	}
	r.until("those online were told", func() bool { return r.told.Load() >= told })
	if n := r.told.Load(); n != told {
		r.t.Errorf("%s: those online were told %d times, want %d", day, n, told)
	}
}

// The daily reward, given by a worker that is killed in the middle, while another and the
// daemon that serves live, and Redis forgets everything.
func TestDailyRewardOnceWhateverIsKilled(t *testing.T) {
	mariadb, redis := storetest.MariaDB(t), storetest.RedisAlone(t)
	r := newRewarded(t, mariadb, redis)
	w := r.in.work()
	id := r.begin("2030-01-01")
	r.ends(id)
	r.check("2030-01-01", rewardedOnline)

	// The worker dies in the middle; the next one goes on where it ended.
	at := 100 + r.rng.IntN(1500)
	id = r.begin("2030-01-02")
	r.until("some have it", func() bool { mails, _ := r.mails("2030-01-02"); return mails >= at })
	w.kill()
	begun := time.Now()
	w = r.in.work()
	r.ends(id)
	t.Logf("killed after %d mails, done %v later", at, time.Since(begun))
	if mails, players := r.mails("2030-01-02"); mails != players || players != rewardedPlayers-rewardedPlayers/3 {
		t.Errorf("%d mails for %d players", mails, players)
	}

	// Redis forgets everything before, and while, the task runs.
	w.kill()
	id = r.begin("2030-01-03")
	redis.Kill()
	redis.Start()
	w = r.in.work()
	r.until("some have it", func() bool { mails, _ := r.mails("2030-01-03"); return mails >= at })
	redis.Kill()
	redis.Start()
	r.ends(id)
	if mails, players := r.mails("2030-01-03"); mails != players || players != rewardedPlayers-rewardedPlayers/3 {
		t.Errorf("%d mails for %d players", mails, players)
	}

	// A second time on the same day nobody gets anything.
	told := r.told.Load()
	r.ends(r.begin("2030-01-01"))
	r.check("2030-01-01", told)
	w.kill()
	r.serve.kill()
}
