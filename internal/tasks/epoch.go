package tasks

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// epochKey says which Redis this is: one that was emptied or replaced has none, or
	// another.
	epochKey = "gameserverd:tasks:epoch"
	// handingKey is there while, and shortly after, one process begins to hand everything
	// over.
	handingKey = "gameserverd:tasks:handing"
	handingFor = 30 * time.Second
	// What is due in more than an hour is handed to a Redis that has lost it by parts of
	// handPart; handedKey and the end of a part is there when a process does it, or has.
	handPart  = 30 * time.Minute
	handedKey = "gameserverd:tasks:handed:"
	handSteps = 4 // steps of one look
	// handSkew is how much the clocks of two machines differ, at most.
	handSkew = time.Minute
)

// Statements, by tasks_look, which ends with the primary key: what is to be looked at next,
// and what else at the same time.
const (
	selectNext = `SELECT id, queue, run_ms, look_ms, created_ms FROM tasks WHERE state = 0 AND look_ms > ? AND look_ms <= ? ORDER BY look_ms, id LIMIT 500`
	selectSame = `SELECT id, queue, run_ms, look_ms, created_ms FROM tasks WHERE state = 0 AND look_ms = ? AND id > ? ORDER BY id LIMIT 500`
)

// handing is how far this process is that hands over what waits to a Redis that has lost
// it. It goes through the rows by their next look, which is soon after they are due.
type handing struct {
	first bool  // this process does all that is due soon, and has not come to its end
	began int64 // what was applied later, Redis has; 0: not known
	until int64 // the last look that is handed over for now
	look  int64 // of the last row that was, or until: this process has nothing to do for now
	id    int64 // of that row, if others of its look may be left; 0: none is
	n     int   // rows that were handed over
}

// checkEpoch hands over what waits if Redis is not the one that had it, in steps. more
// tells that there is more that is due soon.
func (t *Tasks) checkEpoch(s *reconciler) (more bool, err error) {
	client := t.o.Redis.Client()
	epoch, err := client.Get(t.ctx, epochKey).Result()
	if err == redis.Nil {
		fresh := rand.Text() + "." + strconv.FormatInt(t.o.Clock().UnixMilli(), 10)
		if _, err = client.SetNX(t.ctx, epochKey, fresh, 0).Result(); err == nil {
			epoch, err = client.Get(t.ctx, epochKey).Result()
		}
		if s.epoch == "" && epoch == fresh {
			s.epoch = "nothing was in it" // nobody has handed anything over
		}
	}
	if err != nil {
		return false, err
	}
	switch now := t.o.Clock().UnixMilli(); {
	case s.epoch == epoch:
	case s.epoch == "":
		s.handing = handing{began: epochBegan(epoch), look: now, until: now}
	default:
		// One process does for all. Should it die meanwhile, the others find what is left as
		// they find all that waits for too long.
		mine, err := client.SetNX(t.ctx, handingKey, epoch, handingFor).Result()
		if err != nil {
			return false, err
		}
		s.handing = handing{first: mine, began: epochBegan(epoch)}
		if !mine {
			s.handing.look, s.handing.until = t.handUntil(), t.handUntil()
		}
	}
	s.epoch = epoch
	return t.handAll(&s.handing)
}

// epochBegan is when Redis was last found empty: all that waited then was handed over
// since. 0: not known.
func epochBegan(epoch string) int64 {
	_, text, _ := strings.Cut(epoch, ".")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return ms
}

// handUntil is the last look that is to be handed over by now: at least that of what is
// overdue and was put off.
func (t *Tasks) handUntil() int64 {
	part := handPart.Milliseconds()
	return t.o.Clock().Add(maxLookAfter+handPart).UnixMilli() / part * part
}

// handAll hands over what Redis has lost: some of what is due soon, and then, as time
// passes, what comes to be.
func (t *Tasks) handAll(h *handing) (more bool, err error) {
	if until := t.handUntil(); h.look == h.until && h.until < until {
		mine, err := t.o.Redis.Client().SetNX(t.ctx, handedKey+strconv.FormatInt(until, 10), 1, 4*handPart).Result()
		if err != nil {
			return false, err
		}
		if h.until = until; !mine && !h.first {
			h.look = until
		}
	}
	if h.look == h.until {
		return false, nil
	}
	for range handSteps {
		done, err := t.handStep(h)
		if err != nil {
			return false, err // the next look goes on from here
		}
		if done {
			if h.first && h.n > 0 {
				t.o.Log.Info("redis was empty: tasks were handed over anew", zap.Int("tasks", h.n))
			}
			h.first = false
			return false, nil
		}
	}
	return true, nil
}

// handStep hands over the next rows; done: there are no more until h.until.
func (t *Tasks) handStep(h *handing) (done bool, err error) {
	query, args := selectNext, []any{h.look, h.until}
	if h.id != 0 {
		query, args = selectSame, []any{h.look, h.id}
	}
	rows, err := t.o.SQL.FetchAllContext(t.ctx, query, args...)
	if err != nil {
		return false, err
	}
	list := make([]delivery, 0, len(rows))
	var d delivery
	var look, created int64
	for _, found := range rows {
		if err := found.Scan(&d.id, &d.queue, &d.runMS, &look, &created); err != nil {
			return false, err
		}
		if h.began == 0 || created <= h.began+handSkew.Milliseconds() {
			list = append(list, d)
		}
	}
	if _, err := t.carrier.deliverAll(t.ctx, list); err != nil {
		return false, err
	}
	h.n += len(list)
	switch {
	case len(rows) == lookStep:
		h.look, h.id = look, d.id
	case h.id != 0:
		h.id = 0
	default:
		h.look = h.until
		return true, nil
	}
	return false, nil
}
