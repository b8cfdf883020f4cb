package players

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

// entry is one player in memory. Loop only.
type entry struct {
	shard *shard
	uid   uint64
	state State

	version int64 // players.version that this process holds
	seen    int64 // players.seen_ms: the last login
	size    int64 // of the state, in bytes, about
	online  int   // sessions
	loaded  bool  // state is the player's
	loading bool  // a take is under way
	busy    bool  // a take or a change is under way: the next has to wait
	lost    bool  // another process has the player, until the next login here
	recent  int   // times that the player was lost a short while ago

	queue []*op       // logins and changes whose turn has not come
	looks []*op       // for when the load has ended
	early []game.Mail // arrived while loading
	held  []*op       // logins that were answered, whose session has not come yet

	// among the idle
	resting    bool
	until      time.Time
	prev, next *entry
}

// firstVersion is the version of a player who was just made.
const firstVersion = 1

// take makes this process the player's owner and brings the state into memory,
// then tells o's starter. A player who is not there is made, if create is set.
func (e *entry) take(o *op, create bool, then func(error)) {
	e.busy, e.loading = true, true
	p := e.shard.players
	c := &commit.Change{UID: e.uid, Fence: commit.Take, Seen: p.o.Clock().UnixMilli(), Home: e.shard.loop}
	c.Done = func(done commit.Outcome) {
		o.under = nil
		e.seen = c.Seen
		switch {
		case done.Err != nil:
			e.took(p.public(e.uid, done.Err), then)
		case done.Missing && !create:
			e.took(errUnknownPlayer(e.uid), then)
		case done.Missing:
			e.create(o, then)
		case e.loaded && done.Version == e.version+1:
			e.version = done.Version // nobody else had it since: what is in memory holds
			e.refresh(then)
		default:
			e.read(done.Version, then)
		}
	}
	e.submit(o, c, then)
}

// submit sends a change of a take on its way.
func (e *entry) submit(o *op, c *commit.Change, then func(error)) {
	o.under = c
	if err := e.shard.players.o.Group.Submit(c); err != nil {
		o.under = nil
		e.took(err, then)
	}
}

// create stores a new player.
func (e *entry) create(o *op, then func(error)) {
	p := e.shard.players
	now := p.o.Clock()
	player, mails := p.o.New(e.uid, now)
	if o.again {
		mails = nil // what was there was not the player, so it was one of them: they are sent once
	}
	c := &commit.Change{UID: e.uid, Home: e.shard.loop}
	row, err := playerRow(commit.Insert, player, now.UnixMilli(), firstVersion)
	c.Rows = append(c.Rows, row)
	for i, m := range mails {
		if m.ID == 0 {
			m.ID = newMailID()
		}
		mail, mailErr := mailRow(e.uid, m, fmt.Sprintf("new player %d", i))
		c.Rows = append(c.Rows, mail)
		err = errors.Join(err, mailErr)
	}
	if err != nil {
		e.took(err, then)
		return
	}
	c.Done = func(done commit.Outcome) {
		o.under = nil
		switch {
		case isDuplicate(done.Err): // another process was faster, or a mail is there
			o.again = true
			e.take(o, true, then)
		case done.Err != nil:
			e.took(p.public(e.uid, done.Err), then)
		default:
			e.seen = now.UnixMilli()
			e.read(firstVersion, then) // there may be mail already
		}
	}
	e.submit(o, c, then)
}

// refresh brings the mails that other processes have sent: all else of a player
// only the owner changes.
func (e *entry) refresh(then func(error)) {
	p := e.shard.players
	if p.o.DB.Driver() == store.SQLite { // no other process has it
		e.took(nil, then)
		return
	}
	p.loader.mail(e.uid).Then(e.shard.loop, func(mails []game.Mail, err error) {
		for _, m := range mails {
			e.addMail(m)
		}
		e.took(err, then)
	})
}

// read brings the state from SQL; nobody else can change it meanwhile.
func (e *entry) read(version int64, then func(error)) {
	e.loaded = false
	e.shard.players.loader.read(e.uid).Then(e.shard.loop, func(read *State, err error) {
		if err == nil && read == nil {
			err = errUnknownPlayer(e.uid)
		}
		if err == nil {
			e.load(read, version)
		}
		e.took(err, then)
	})
}

// load makes read the player's state.
func (e *entry) load(read *State, version int64) {
	e.state, e.version, e.loaded = *read, version, true
	e.size = stateSize(&e.state)
	for _, m := range e.early {
		e.addMail(m)
	}
}

// took ends a take.
func (e *entry) took(err error, then func(error)) {
	e.busy, e.loading = false, false
	looks := e.looks
	e.looks, e.early = nil, nil
	then(err)
	for _, o := range looks {
		switch {
		case o.answered:
		case e.loaded:
			o.look(&e.state)
		default:
			o.answer(err)
		}
	}
	e.shard.next(e)
}

// hold keeps the player for the session of the login o, which may have to move
// here first: for as long as o could have waited.
func (e *entry) hold(o *op) {
	e.held = append(e.held, o)
	e.shard.loop.After(e.shard.players.o.Timeout, func() {
		if i := slices.Index(e.held, o); i >= 0 {
			e.held = slices.Delete(e.held, i, i+1)
			e.shard.rest(e)
		}
	})
}

// change runs one change; stored runs when it is.
func (e *entry) change(o *op, fn func(*Draft) error, stored func()) {
	switch {
	case e.lost:
		o.answer(errLost())
		return
	case !e.loaded:
		e.take(o, false, func(err error) {
			switch {
			case err != nil:
				o.answer(err)
			case !o.answered:
				e.change(o, fn, stored)
			}
		})
		return
	}
	d := &Draft{e: e, now: e.shard.players.o.Clock()}
	o.draft = d
	if err := fn(d); err != nil {
		o.answer(err)
		return
	}
	if d.err != nil {
		o.answer(d.err)
		return
	}
	if len(d.rows) == 0 {
		e.stored(d)
		o.end()
		stored()
		return
	}
	e.store(o, d, stored)
}

// store sends what a change has written on its way.
func (e *entry) store(o *op, d *Draft, stored func()) {
	e.busy = true
	c := &commit.Change{UID: e.uid, Fence: commit.Hold, Version: e.version, Home: e.shard.loop, Rows: d.rows}
	c.Done = func(done commit.Outcome) {
		o.under = nil
		e.busy = false
		switch {
		case done.Err == nil:
			e.stored(d)
			o.end()
			stored()
		case errors.Is(done.Err, commit.ErrLostRace):
			e.lose()
			o.answer(errLost())
		default:
			o.answer(e.shard.players.public(e.uid, done.Err))
		}
		e.shard.next(e)
	}
	o.under = c
	if err := e.shard.players.o.Group.Submit(c); err != nil {
		o.under = nil
		e.busy = false
		o.answer(err)
	}
}

// stored makes a change visible. It is stored, whatever one of its functions does.
func (e *entry) stored(d *Draft) {
	for _, apply := range d.apply {
		if p := panicOf(apply); p != nil {
			e.shard.players.o.Log.Error("panic after a commit", zap.Uint64("uid", e.uid), zap.Any("panic", p.Value), zap.ByteString("stack", p.Stack))
		}
	}
}

// panicOf runs fn, and returns its panic if there was one.
func panicOf(fn func()) *future.PanicError {
	_, err := guard(func() (struct{}, error) { fn(); return struct{}{}, nil })
	var p *future.PanicError
	errors.As(err, &p)
	return p
}

// lose forgets a player whom another process has taken over.
func (e *entry) lose() {
	p := e.shard.players
	p.o.Log.Warn("lost a player to another process: its change was not stored", zap.Uint64("uid", e.uid), zap.Int64("version", e.version))
	e.loaded, e.lost = false, true
	e.state, e.size = State{}, 0
	e.remember()
	if p.o.Lost == nil {
		return
	}
	e.shard.loop.After(lostGrace, func() {
		// A login since then has sent the session away that lost the player.
		if e.lost && e.shard.entries[e.uid] == e {
			p.o.Lost(e.uid)
		}
	})
}

// remember keeps a lost player in mind, also when the session has gone, for as long as calls may be under way that began
// before: they must find that the player is lost, and not take the player back from the process that has it.
func (e *entry) remember() {
	e.recent++
	e.shard.loop.After(e.shard.players.o.Timeout, func() {
		e.recent--
		e.shard.rest(e)
	})
}

// lostGrace is how long after a lost race the session is told to go: the answer
// to its call has been sent by then.
const lostGrace = 50 * time.Millisecond

// addMail keeps the mails by time, and each once.
func (e *entry) addMail(m game.Mail) {
	mail := e.state.Mail
	i, there := slices.BinarySearchFunc(mail, m, compareMail)
	if there {
		return
	}
	e.state.Mail = slices.Insert(mail, i, m)
	e.resize(mailSize(m))
}

// resize notes that the state has become larger, or smaller, by so many bytes.
func (e *entry) resize(by int64) {
	e.size += by
	if e.resting {
		e.shard.idleBytes += by
	}
}

func errLost() error {
	return wire.Errorf(wire.Aborted, "the player has logged in somewhere else; nothing was changed")
}

// public is what a caller is told of an outcome.
func (p *Players) public(uid uint64, err error) error {
	var known *wire.Error
	switch {
	case errors.As(err, &known):
		return known
	case isDuplicate(err):
		return err // the caller knows what it has written
	case errors.Is(err, commit.ErrAbandoned), errors.Is(err, commit.ErrClosed):
		return errUnavailable("the store does not answer; nothing was changed")
	case errors.Is(err, commit.ErrUnknown):
		return errNotKnown()
	}
	p.o.Log.Error("a player's change was not stored", zap.Uint64("uid", uid), zap.Error(err))
	return err
}

func isDuplicate(err error) bool { return errors.Is(err, commit.ErrDuplicate) }
