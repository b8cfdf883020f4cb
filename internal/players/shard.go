package players

import (
	"fmt"
	"slices"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/wire"
)

// shard is the players whose home is one loop. Loop only, all of it.
type shard struct {
	players *Players // immutable
	loop    Loop     // immutable

	entries map[uint64]*entry // by uid

	// Those who wait for an answer, by deadline; all wait equally long, so the
	// order of arrival is the order of deadlines.
	waiting []*op
	first   int  // of waiting; those before it were answered
	armed   bool // a timer is set for the first of them

	// Players in memory with nobody online and nothing under way: a list, the one
	// that was used longest ago first.
	idleFirst, idleLast *entry
	idle                int
	idleBytes           int64
	idleArmed           bool
	maxIdle             int   // immutable
	maxIdleBytes        int64 // immutable
}

// op is something that a caller waits for. Loop only.
type op struct {
	deadline time.Time
	answered bool
	fail     func(error)    // tells the caller
	draft    *Draft         // of a change that has begun: it hears first what its caller is told
	begin    func(*entry)   // starts it when its turn has come; nil for looks
	look     func(*State)   // runs it; looks only
	under    *commit.Change // what is on its way to SQL for it
	again    bool           // it makes a player, and has found something of it there
}

// answer fails o, once.
func (o *op) answer(err error) {
	if o.answered {
		return
	}
	d := o.draft
	o.end()
	if d != nil {
		err = d.fail(err)
	}
	o.fail(err)
}

// end says that o is answered. It may stay where it waits for as long as the
// store does not answer, and what its caller has given it must not stay with it.
func (o *op) end() {
	o.answered = true
	o.begin, o.look, o.draft = nil, nil, nil
}

// wait makes o be answered by its deadline.
func (s *shard) wait(o *op) {
	s.expire(time.Time{})
	o.deadline = s.loop.Now().Add(s.players.o.Timeout)
	s.waiting = append(s.waiting, o)
	s.armDeadline()
}

func (s *shard) armDeadline() {
	if s.armed || len(s.waiting) == 0 {
		return
	}
	s.armed = true
	s.loop.After(s.waiting[s.first].deadline.Sub(s.loop.Now()), func() {
		s.armed = false
		s.expire(s.loop.Now())
		s.armDeadline()
	})
}

// expire answers those whose time is over at now, and forgets those who were
// answered, as far as they are the first.
func (s *shard) expire(now time.Time) {
	for ; s.first < len(s.waiting); s.first++ {
		o := s.waiting[s.first]
		if !o.answered {
			if o.deadline.After(now) {
				break
			}
			o.giveUp()
		}
		s.waiting[s.first] = nil
	}
	if s.first > len(s.waiting)/2 { // at half, so that each is moved once at most on average
		s.waiting = slices.Delete(s.waiting, 0, s.first)
		s.first = 0
	}
}

// giveUp answers o although it has not ended.
func (o *op) giveUp() {
	switch {
	case o.under == nil:
		o.answer(errUnavailable("the store does not answer; nothing was changed"))
	case o.under.Abandon():
		o.answer(errUnavailable("the store does not answer; nothing was or will be changed"))
	default:
		o.answer(errNotKnown())
	}
}

func errNotKnown() error {
	return errUnavailable("the store does not answer, and whether this was stored is not known yet: read before trying again")
}

// entry returns the place of uid, made if need be.
func (s *shard) entry(uid uint64) *entry {
	e := s.entries[uid]
	if e == nil {
		e = &entry{shard: s, uid: uid}
		s.entries[uid] = e
	}
	return e
}

// queue starts o when everything before it has ended.
func (s *shard) queue(uid uint64, o *op) {
	e := s.entry(uid)
	if e.queue = roomFor(e.queue); len(e.queue) >= maxQueue {
		o.answer(errQueueFull("changes", uid))
		return
	}
	s.unlink(e)
	e.queue = append(e.queue, o)
	s.next(e)
}

// maxQueue is how many changes of one player may wait for their turn, and how
// many looks for a load.
const maxQueue = 1000

// roomFor takes those out of a full queue who were answered because their time
// was over.
func roomFor(queue []*op) []*op {
	if len(queue) < maxQueue {
		return queue
	}
	return slices.DeleteFunc(queue, func(o *op) bool { return o.answered })
}

func errQueueFull(what string, uid uint64) error {
	return &wire.Error{Code: wire.ResourceExhausted, RetryAfter: retryAfter,
		Message: fmt.Sprintf("%d %s of player %d wait already", maxQueue, what, uid)}
}

// next starts what waits in e, as long as nothing is under way.
func (s *shard) next(e *entry) {
	for !e.busy && len(e.queue) > 0 {
		o := e.queue[0]
		e.queue = slices.Delete(e.queue, 0, 1)
		if !o.answered {
			o.begin(e)
		}
	}
	if len(e.queue) == 0 {
		e.queue = nil
	}
	s.rest(e)
}

// look runs o at once if the player is in memory, after the load that is under
// way, or with a state that is read for it alone.
func (s *shard) look(uid uint64, o *op) {
	e := s.entries[uid]
	switch {
	case e != nil && e.loaded:
		o.look(&e.state)
		if e.resting {
			s.unlink(e)
			s.rest(e) // it was just used
		}
	case e != nil && e.loading:
		if e.looks = roomFor(e.looks); len(e.looks) >= maxQueue {
			o.answer(errQueueFull("reads", uid))
			return
		}
		e.looks = append(e.looks, o)
	default:
		s.players.loader.read(uid).Then(s.loop, func(read *State, err error) {
			switch {
			case o.answered:
			case err != nil:
				o.answer(err)
			case read == nil:
				o.answer(errUnknownPlayer(uid))
			default:
				o.look(read)
			}
		})
	}
}

func (s *shard) online(uid uint64) {
	e := s.entry(uid)
	s.unlink(e)
	e.online++
	if len(e.held) > 0 {
		e.held = slices.Delete(e.held, 0, 1)
	}
}

func (s *shard) offline(uid uint64) {
	if e := s.entries[uid]; e != nil && e.online > 0 {
		e.online--
		s.rest(e)
	}
}

// rest puts e among the idle if nobody needs it, or forgets it at once if it
// holds nothing.
func (s *shard) rest(e *entry) {
	if e.online > 0 || len(e.held) > 0 || e.recent > 0 || e.busy || len(e.queue) > 0 || e.resting {
		return
	}
	if !e.loaded {
		delete(s.entries, e.uid)
		return
	}
	e.resting = true
	e.until = s.loop.Now().Add(s.players.o.Linger)
	e.prev = s.idleLast
	if e.prev != nil {
		e.prev.next = e
	} else {
		s.idleFirst = e
	}
	s.idleLast = e
	s.idle++
	s.idleBytes += e.size
	for s.idle > s.maxIdle || s.idleBytes > s.maxIdleBytes && s.idle > 0 {
		s.evict(s.idleFirst)
	}
	s.armIdle()
}

// unlink takes e from among the idle.
func (s *shard) unlink(e *entry) {
	if !e.resting {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		s.idleFirst = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		s.idleLast = e.prev
	}
	e.prev, e.next, e.resting = nil, nil, false
	s.idle--
	s.idleBytes -= e.size
}

func (s *shard) evict(e *entry) {
	s.unlink(e)
	delete(s.entries, e.uid)
}

// idleStep is the least time between two looks for players who have been idle
// for too long.
const idleStep = time.Second

func (s *shard) armIdle() {
	if s.idleArmed || s.idleFirst == nil {
		return
	}
	s.idleArmed = true
	s.loop.After(max(idleStep, s.idleFirst.until.Sub(s.loop.Now())), func() {
		s.idleArmed = false
		for now := s.loop.Now(); s.idleFirst != nil && !s.idleFirst.until.After(now); {
			s.evict(s.idleFirst)
		}
		s.armIdle()
	})
}

// sendMail stores a mail; the player's state need not be in memory for it.
func (s *shard) sendMail(uid uint64, m game.Mail, source string, o *op, out *future.Future[bool]) {
	row, err := mailRow(uid, m, source)
	if err != nil {
		o.answer(err)
		return
	}
	c := &commit.Change{UID: uid, Home: s.loop, Rows: []commit.Row{row}}
	c.Done = func(done commit.Outcome) {
		switch {
		case done.Err == nil:
			s.arrived(uid, m)
			o.end()
			out.Resolve(true)
		case isDuplicate(done.Err):
			o.end()
			out.Resolve(false)
		default:
			o.answer(s.players.public(uid, done.Err))
		}
	}
	o.under = c
	if err := s.players.o.Group.Submit(c); err != nil {
		o.answer(err)
	}
}

// arrived adds a mail that was stored to a state in memory.
func (s *shard) arrived(uid uint64, m game.Mail) {
	s.keepMail(uid, m)
	if tell := s.players.o.Arrived; tell != nil {
		tell(uid, m)
	}
}

// keepMail adds a mail to a state in memory.
func (s *shard) keepMail(uid uint64, m game.Mail) {
	if e := s.entries[uid]; e != nil {
		switch {
		case e.loaded:
			e.addMail(m)
		case e.loading:
			e.early = append(e.early, m) // the load may have read before it was there, or after
		}
	}
}
