package crashtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"gameserverd/client"
)

// Clients of one player are at both daemons at once and take the player from each other all the time, while one daemon
// or the other is killed now and then. What they were told fits what is there in the end.
func TestTwoProcessesFightForPlayers(t *testing.T) {
	visits := kills(t)
	w := newPair(t, playersAtOnce/2)
	ledgers := make([]*ledger, len(w.players))
	var all sync.WaitGroup
	for i, p := range w.players {
		ledgers[i] = &ledger{p: p, versions: map[int64]string{}, claimed: map[int64]bool{}, maybe: map[int64]bool{}}
		all.Add(1)
		go func() {
			defer all.Done()
			for n := range visits {
				if err := ledgers[i].bothVisit(w, uint64(n*len(w.players)+i)); err != nil {
					t.Errorf("seed %d: player %d: %v", w.seed, p.uid, err)
					return
				}
			}
		}()
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	w.killNowAndThen((visits+4)/5, ended)
	<-ended
	races := int64(0)
	for _, l := range ledgers {
		races += l.races
		if err := l.fits(w); err != nil {
			t.Errorf("seed %d: player %d: %v", w.seed, l.p.uid, err)
		}
	}
	w.end(visits, races)
}

// killNowAndThen kills one daemon or the other, and starts another in its place.
func (w *pair) killNowAndThen(most int, ended <-chan struct{}) {
	r := rand.New(rand.NewPCG(w.seed, 0))
	for n := range most {
		select {
		case <-ended:
			w.t.Logf("%d kills", n)
			return
		case <-moment(r, 500):
		}
		side := r.IntN(len(w.daemons))
		w.daemons[side].Load().kill()
		w.daemons[side].Store(w.in[side].serve())
	}
	w.t.Logf("%d kills", most)
}

// ledger is what the clients of one player were told, at both daemons together. Which of their calls came first nobody
// knows, so it has what must hold in any order.
type ledger struct {
	p *player // immutable

	mu       sync.Mutex
	logins   int64            // that succeeded
	versions map[int64]string // of fightKey: the values that were acknowledged
	newest   int64            // of versions
	puts     int64            // of fightKey that may have been stored beside
	claimed  map[int64]bool   // mails whose claim was acknowledged
	maybe    map[int64]bool   // mails whose claim may have been made
	bought   int64            // potions that were acknowledged
	extra    int64            // potions that may have been bought beside
	races    int64            // calls that failed because the other daemon had the player
}

const fightKey = "fought for"

// bothVisit has two clients of the player at both daemons at about the same time.
func (l *ledger) bothVisit(w *pair, n uint64) error {
	errs := make(chan error, len(w.daemons))
	for side := range w.daemons {
		r := rand.New(rand.NewPCG(w.seed, 1+2*n+uint64(side)))
		go func() { errs <- l.visit(w.daemons[side].Load().addr, r) }()
	}
	return errors.Join(<-errs, <-errs)
}

// visit logs in at a daemon, which takes the player from the other, and does a few things at once.
func (l *ledger) visit(addr string, r *rand.Rand) error {
	c, err := l.p.connect(addr)
	if errors.Is(err, errLost) {
		pause() // killed, or the player was taken back at once; another time
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	l.mu.Lock()
	l.logins++
	newest := l.newest
	l.mu.Unlock()
	var calls []*call
	var notes []func(outcome) error
	for range 1 + r.IntN(12) {
		var o *op
		note := func(outcome) error { return nil }
		switch r.IntN(3) {
		case 0:
			o, note = l.put(r, &newest)
		case 1:
			o, note = buyOp("potion", 1), l.noteBuy
		case 2:
			letter := l.p.letters[r.IntN(len(l.p.letters))]
			o, note = claimOp(letter), func(o outcome) error { return l.noteClaim(letter.id, o) }
		}
		calls, notes = append(calls, start(c, o)), append(notes, note)
	}
	for i, call := range calls {
		o := call.wait()
		l.mu.Lock()
		if tooLate(o) {
			l.races++
		}
		err = errors.Join(err, notes[i](o))
		l.mu.Unlock()
	}
	return err
}

// put writes fightKey, most often only if it is as it was last seen.
func (l *ledger) put(r *rand.Rand, newest *int64) (*op, func(outcome) error) {
	value := randomValue(r)
	ifVersion := new(int64)
	*ifVersion = *newest
	if r.IntN(4) == 0 {
		ifVersion = nil
	}
	*newest++
	return putOp(fightKey, value, ifVersion), func(o outcome) error {
		switch {
		case o.ending == lost || o.ending == unknown:
			l.puts++
		case o.ending == settled && strings.HasPrefix(o.answer, "version "):
			var version int64
			if _, err := fmt.Sscanf(o.answer, "version %d", &version); err != nil {
				return err
			}
			if other, twice := l.versions[version]; twice {
				return fmt.Errorf("two puts got version %d: %s and %s", version, brief(other), brief(value))
			}
			l.versions[version] = value
			l.newest = max(l.newest, version)
		}
		return nil
	}
}

func (l *ledger) noteBuy(o outcome) error {
	switch {
	case o.ending == lost || o.ending == unknown:
		l.extra++
	case o.ending == settled && strings.HasPrefix(o.answer, "gold "):
		l.bought++
	}
	return nil
}

func (l *ledger) noteClaim(id int64, o outcome) error {
	switch {
	case o.ending == lost || o.ending == unknown:
		l.maybe[id] = true
	case o.ending == settled && strings.HasPrefix(o.answer, "gold "):
		if l.claimed[id] {
			return fmt.Errorf("mail %d was claimed twice", id)
		}
		l.claimed[id] = true
	case o.ending == settled && o.answer != refused(client.FailedPrecondition):
		return fmt.Errorf("mail %d: %s", id, o.answer)
	}
	return nil
}

// fits compares the ledger with what is there when all have gone.
func (l *ledger) fits(w *pair) error {
	c, err := l.p.connect(w.daemons[0].Load().addr)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := l.p.look(c)
	if err != nil {
		return err
	}
	if err := s.balance(l.p.letters); err != nil {
		return err
	}
	for _, letter := range l.p.letters {
		if id := letter.id; l.claimed[id] && !s.claimed[id] || s.claimed[id] && !l.claimed[id] && !l.maybe[id] {
			return fmt.Errorf("mail %d is claimed: %v, acknowledged: %v, possible: %v", id, s.claimed[id], l.claimed[id], l.maybe[id])
		}
	}
	if n := s.items["potion"]; n < l.bought || n > l.bought+l.extra {
		return fmt.Errorf("%d potions; %d were acknowledged and %d possible beside", n, l.bought, l.extra)
	}
	save := s.saves[fightKey]
	if sure := int64(len(l.versions)); save.version < l.newest || save.version < sure || save.version > sure+l.puts {
		return fmt.Errorf("the save has version %d; %d writes up to version %d were acknowledged and %d possible beside", save.version, sure, l.newest, l.puts)
	}
	if value, sure := l.versions[save.version]; sure && value != save.value {
		return fmt.Errorf("version %d of the save is %s, not %s", save.version, brief(save.value), brief(value))
	}
	db := w.db.open(w.t)
	defer db.Close()
	var version int64
	if err := db.QueryRow("SELECT version FROM players WHERE uid = ?", int64(l.p.uid)).Scan(&version); err != nil {
		return err
	}
	if version < l.logins+1 { // and this one
		return fmt.Errorf("the player's row has version %d after %d logins", version, l.logins+1)
	}
	return nil
}
