package ctl

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How many sessions one answer has, unless more are asked for, and at most.
const (
	defaultLimit = 20
	MaxLimit     = 100_000
)

// Orders are what sessions can be sorted by, the usual one first.
var Orders = []string{"waiting", "rate", "age", "silent"}

// rateTime is how far apart the two snapshots are whose difference is the rate.
const rateTime = time.Second

// orders put first what an operator looks for.
var orders = map[string]func(a, b *Session) int{
	"waiting": func(a, b *Session) int { return cmp.Compare(b.Waiting, a.Waiting) },
	"age":     func(a, b *Session) int { return cmp.Compare(b.AgeMS, a.AgeMS) },
	"silent":  func(a, b *Session) int { return cmp.Compare(b.SilentMS, a.SilentMS) },
	"rate":    func(a, b *Session) int { return cmp.Compare(b.rate(), a.rate()) },
}

func (s *Session) rate() float64 {
	if s.Rate == nil {
		return -1 // came between the two snapshots
	}
	return *s.Rate
}

// sessions answers GET /sessions?sort=waiting&limit=20; rate=true measures the
// rate where it is not sorted by it.
func (s *Server) sessions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	by, limit := cmp.Or(q.Get("sort"), Orders[0]), defaultLimit
	if orders[by] == nil {
		fail(w, http.StatusBadRequest, &Error{invalid, "sort must be one of " + strings.Join(Orders, ", ")})
		return
	}
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > MaxLimit {
			fail(w, http.StatusBadRequest, &Error{invalid, "limit must be from 1 to " + strconv.Itoa(MaxLimit)})
			return
		}
	}
	select {
	case s.looking <- struct{}{}:
		defer func() { <-s.looking }()
	case <-r.Context().Done():
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.askTime)
	defer cancel()
	all, err := ListSessions(ctx, s.daemon, by, by == "rate" || q.Get("rate") == "true", s.ending)
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, Sessions{Total: len(all), Sessions: all[:min(limit, len(all))]})
}

// ListSessions lists the sessions in one of Orders, with what they sent in the next
// second if that is wanted, or until ending is closed. Any goroutine.
func ListSessions(ctx context.Context, d Daemon, by string, rated bool, ending <-chan struct{}) ([]Session, error) {
	all, err := snapshot(ctx, d, rated, ending)
	order := orders[by]
	slices.SortFunc(all, func(a, b Session) int {
		return cmp.Or(order(&a, &b), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Conn, b.Conn))
	})
	return all, err
}

func snapshot(ctx context.Context, d Daemon, rated bool, ending <-chan struct{}) ([]Session, error) {
	first, err := d.Sessions(ctx)
	if err != nil || !rated {
		return first, err
	}
	began := time.Now()
	wait := time.NewTimer(rateTime)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ending:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	second, err := d.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	rates(first, second, time.Since(began))
	return second, nil
}

// rates sets the rate of those in now who were in before. A player who has moved to
// another loop is found by uid, who has not logged in by connection.
func rates(before, now []Session, apart time.Duration) {
	type key struct {
		uid, conn uint64
		loop      int
	}
	keyOf := func(s *Session) key {
		if s.UID != 0 {
			return key{uid: s.UID}
		}
		return key{conn: s.Conn, loop: s.Loop}
	}
	was := make(map[key]*Session, len(before))
	for i := range before {
		was[keyOf(&before[i])] = &before[i]
	}
	for i := range now {
		old := was[keyOf(&now[i])]
		if old == nil || now[i].AgeMS < old.AgeMS { // another connection of the same player
			continue
		}
		rate := float64(now[i].Messages-old.Messages) / apart.Seconds()
		now[i].Rate = &rate
	}
}
