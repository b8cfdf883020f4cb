// Package players keeps the players' states: in memory on each player's home
// loop while somebody may want them, in SQL for good. Reading an online player's
// state touches no store; a change is written with the next group commit and
// seen by nobody before it is stored.
//
// It knows neither sessions nor methods, and no rule of the game: what a change
// is allowed to do, the function that makes it decides with package game.
//
// Its one invariant: the state in memory is what SQL has, as of the last commit
// of this process; a process that no longer owns a player forgets the state.
package players

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

// Loop is what a home loop must do.
type Loop interface {
	AddCallback(fn func()) bool                       // any goroutine
	After(d time.Duration, fn func()) (cancel func()) // loop only
	Now() time.Time                                   // loop only: the turn's clock
}

// Options are what Players are made from.
type Options struct {
	DB     *store.SQL
	Group  *commit.Group
	Loops  []Loop
	HomeOf func(uid uint64) int // the index in Loops of a player's home

	// New is the player uid as it begins at the time now, with the mails that wait
	// for it, as for SendMail. Any goroutine.
	New func(uid uint64, now time.Time) (game.Player, []game.Mail)
	// Arrived is called when a mail to uid is stored, on uid's home loop; nil:
	// nobody is told.
	Arrived func(uid uint64, m game.Mail)
	// Lost is called soon after a change has found that another process has taken the
	// player over, if the player is still online here; on uid's home loop. nil:
	// nobody is told.
	Lost func(uid uint64)

	Timeout           time.Duration // until a caller is answered, whatever the stores do
	Linger            time.Duration // how long a player who has gone is kept in memory
	MaxLingering      int           // how many such players at most
	MaxLingeringBytes int64         // how many bytes of their states at most
	Log               *zap.Logger
	Clock             func() time.Time // the wall clock
}

// Players are the states of all players.
type Players struct {
	// immutable after New
	o      Options
	shards []*shard // by home loop
	loader *loader
}

// State is what is kept of one player. Maps may be nil.
type State struct {
	Player game.Player
	Saves  map[string]game.Save // by key
	Mail   []game.Mail          // oldest first; those that had expired when the state was loaded are left out
	Bests  map[string]game.Best // best scores, by board
}

// New returns Players with nobody in memory.
func New(o Options) *Players {
	p := &Players{o: o, loader: newLoader(o.DB, o.Timeout, o.Clock)}
	n := max(1, len(o.Loops))
	for _, l := range o.Loops {
		p.shards = append(p.shards, &shard{
			players: p, loop: l, entries: make(map[uint64]*entry),
			maxIdle: (o.MaxLingering + n - 1) / n, maxIdleBytes: (o.MaxLingeringBytes + int64(n) - 1) / int64(n),
		})
	}
	return p
}

// Loaded is the number of players whose state is in memory on the loop with this
// index in Options.Loops. Loop only, that one.
func (p *Players) Loaded(loop int) int { return len(p.shards[loop].entries) }

// Close waits until nothing is being read any more, or ctx ends. Any goroutine
// but a loop's.
func (p *Players) Close(ctx context.Context) error { return p.loader.close(ctx) }

// Login takes the player uid over for this process and resolves when the state
// is in memory, where it then waits for Online; a player who is new begins now.
// Any goroutine.
func (p *Players) Login(uid uint64) *future.Future[struct{}] {
	out := future.New[struct{}]()
	o := &op{fail: func(err error) { out.Fail(err) }}
	o.begin = func(e *entry) {
		e.lost = false
		e.take(o, true, func(err error) {
			if err != nil {
				o.answer(err)
				return
			}
			if !o.answered {
				e.hold(o)
			}
			o.end()
			out.Resolve(struct{}{})
		})
	}
	p.enter(uid, o, func(s *shard) { s.queue(uid, o) })
	return out
}

// Online says that a session of the player uid is there: the state stays in
// memory. Loop only: uid's home.
func (p *Players) Online(uid uint64) { p.shard(uid).online(uid) }

// Offline takes back one Online. Loop only: uid's home.
func (p *Players) Offline(uid uint64) { p.shard(uid).offline(uid) }

// Look resolves to the result of fn, which runs on uid's home loop with the
// player's state; it must not block, and neither keep nor change what it is
// given. A player who is not in memory is read from SQL; one who has never
// logged in is not_found. Any goroutine.
func Look[T any](p *Players, uid uint64, fn func(s *State) (T, error)) *future.Future[T] {
	out := future.New[T]()
	o := &op{fail: func(err error) { out.Fail(err) }}
	o.look = func(s *State) {
		v, err := guard(func() (T, error) { return fn(s) })
		if err != nil {
			o.answer(err)
			return
		}
		o.end()
		out.Resolve(v)
	}
	p.enter(uid, o, func(s *shard) { s.look(uid, o) })
	return out
}

// Change lets fn change the player uid. It runs on uid's home loop, once at
// most, when no other change of the player is under way. What it wrote to the
// draft is stored in one transaction, all of it or nothing; then others see it and the
// future resolves to fn's result. If fn fails, nothing is changed and the future
// fails with its error; a fn that writes nothing resolves at once.
//
// With SQL away or slow the future fails with unavailable in time, and the
// message says whether the change may yet be stored. A player who has never
// logged in is not_found; one whom another process has taken over is aborted.
// Changing a player who is not in memory takes the player over, so a player of another
// process is better sent mail. Any goroutine.
func Change[T any](p *Players, uid uint64, fn func(d *Draft) (T, error)) *future.Future[T] {
	return change(p, uid, fn, func(s *shard, o *op) { s.queue(uid, o) })
}

// ChangeIf is Change after check has resolved: for a look at SQL that spares most
// changes that would fail. If check fails, so does the future, and nothing is
// changed. The time is that of Change, for both together. Any goroutine.
func ChangeIf[T any](p *Players, uid uint64, check *future.Future[struct{}], fn func(d *Draft) (T, error)) *future.Future[T] {
	return change(p, uid, fn, func(s *shard, o *op) {
		check.Then(s.loop, func(_ struct{}, err error) {
			switch {
			case err != nil:
				o.answer(err)
			case !o.answered:
				s.queue(uid, o)
			}
		})
	})
}

// change is Change; start queues it.
func change[T any](p *Players, uid uint64, fn func(d *Draft) (T, error), start func(*shard, *op)) *future.Future[T] {
	out := future.New[T]()
	o := &op{fail: func(err error) { out.Fail(err) }}
	o.begin = func(e *entry) {
		var v T
		e.change(o, func(d *Draft) (err error) {
			v, err = guard(func() (T, error) { return fn(d) })
			return err
		}, func() { out.Resolve(v) })
	}
	p.enter(uid, o, func(s *shard) { start(s, o) })
	return out
}

// SendMail stores a mail to the player uid, whether online or not, and resolves
// to false if something with the same source was sent to uid before. Source is 1
// to 64 bytes. A mail with the id 0
// gets one of its own, which is what senders want. One that game.Mail.Check refuses
// fails with that error. Any goroutine.
func (p *Players) SendMail(uid uint64, m game.Mail, source string) *future.Future[bool] {
	err := m.Check()
	if n := len(source); err == nil && (n < 1 || n > maxSource || !utf8.ValidString(source)) {
		err = wire.Errorf(wire.InvalidArgument, "a mail's source must be 1 to %d bytes of UTF-8, got %d", maxSource, n)
	}
	if err != nil {
		return future.Failed[bool](err)
	}
	if m.ID == 0 {
		m.ID = newMailID()
	}
	out := future.New[bool]()
	o := &op{fail: func(err error) { out.Fail(err) }}
	p.enter(uid, o, func(s *shard) { s.sendMail(uid, m, source, o, out) })
	return out
}

// Received is told of a mail to uid that another process has stored: a player who is
// in memory here has it from then on. Arrived is not called. Any goroutine.
func (p *Players) Received(uid uint64, m game.Mail) {
	s := p.shard(uid)
	s.loop.AddCallback(func() { s.keepMail(uid, m) })
}

const maxSource = 64 // bytes, as the table has it

// newMailID is random: nobody has to be asked for the next one, and two of the
// same player are the same once in 10^15.
func newMailID() int64 { return 1 + rand.Int64N(game.MaxCount) }

// NameOwner resolves to the player who has chosen the name, 0 if nobody has.
// Any goroutine.
func (p *Players) NameOwner(name string) *future.Future[uint64] {
	found := p.o.DB.FetchOne(selectNameOwner, game.NameKey(name))
	owner := future.Map(found, inline{}, func(row store.Row) (uint64, error) {
		if row.None() {
			return 0, nil
		}
		return scanUID(row)
	})
	return future.Catch(owner, inline{}, readError)
}

// inline runs a callback where the result is known; for callbacks that only
// convert.
type inline struct{}

func (inline) AddCallback(fn func()) bool { fn(); return true }

// enter runs fn on uid's home loop, with o waiting until its deadline.
func (p *Players) enter(uid uint64, o *op, fn func(s *shard)) {
	if uid == 0 {
		o.answer(wire.Errorf(wire.InvalidArgument, "uid 0 is nobody"))
		return
	}
	s := p.shard(uid)
	if !s.loop.AddCallback(func() {
		s.wait(o)
		fn(s)
	}) {
		o.answer(wire.Errorf(wire.Unavailable, "the server is shutting down"))
	}
}

func (p *Players) shard(uid uint64) *shard { return p.shards[p.o.HomeOf(uid)] }

// guard turns a panic of a caller's function into an error.
func guard[T any](fn func() (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &future.PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return fn()
}

func errUnknownPlayer(uid uint64) error {
	return wire.Errorf(wire.NotFound, "there is no player %d", uid)
}

func errUnavailable(format string, args ...any) error {
	return &wire.Error{Code: wire.Unavailable, Message: fmt.Sprintf(format, args...), RetryAfter: retryAfter}
}

// retryAfter is what clients are told to wait when a store did not answer.
const retryAfter = time.Second
