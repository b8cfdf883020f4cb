package crashtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gameserverd/client"
	"gameserverd/internal/storetest"
)

// lostRace is what a daemon logs when it finds that another has a player.
const lostRace = `"msg":"lost a player to another process`

// pair is two daemons on one database.
type pair struct {
	t       *testing.T
	seed    uint64
	db      database
	in      [2]*installation
	daemons [2]atomic.Pointer[daemon]
	players []*player
}

func newPair(t *testing.T, players int) *pair {
	w := &pair{t: t, seed: seed(t), db: database{"mysql", storetest.MariaDB(t).DSN}}
	boards := boardsIn(storetest.Redis(t))
	for i := range w.in {
		w.in[i] = newInstallation(t, append(w.db.env(), boards...)...)
	}
	w.players = newPlayers(rand.New(rand.NewPCG(w.seed, 0)), players, lettersEach)
	w.daemons[0].Store(w.in[0].serve()) // makes the tables
	w.db.post(t, w.players)
	w.daemons[1].Store(w.in[1].serve())
	return w
}

// end kills both, and wants lost races and word of them in the logs if the players came often enough.
func (w *pair) end(comings int, races int64) {
	w.t.Helper()
	logged := 0
	for i := range w.daemons {
		w.daemons[i].Load().kill()
		logged += strings.Count(w.in[i].logs.String(), lostRace)
	}
	w.t.Logf("%d calls came too late, and %d times that was logged", races, logged)
	if comings >= 10 && (races == 0 || logged == 0) {
		w.t.Error("no race was lost, or none was logged")
	}
}

// Players go from one daemon to the other and back while their calls are still under way at the one they leave. The
// daemon where they arrive has all that the other acknowledged, and the other stores nothing more.
func TestPlayersHopBetweenTwoProcesses(t *testing.T) {
	hops := kills(t)
	w := newPair(t, playersAtOnce)
	var all sync.WaitGroup
	var races atomic.Int64
	for i, p := range w.players {
		r := rand.New(rand.NewPCG(w.seed, uint64(i)+1))
		all.Add(1)
		go func() {
			defer all.Done()
			n, err := w.hop(p, r, hops)
			races.Add(n)
			if err != nil {
				t.Errorf("seed %d: %v", w.seed, err)
			}
		}()
	}
	all.Wait()
	w.end(hops, races.Load())
}

// hop returns how many calls came too late, because the player was elsewhere already.
func (w *pair) hop(p *player, r *rand.Rand, hops int) (races int64, err error) {
	var under []*call // at the daemon that the player has left
	var old *client.Client
	defer func() {
		if old != nil {
			old.Close()
		}
	}()
	for n := range hops {
		c, err := p.connect(w.daemons[n%2].Load().addr)
		if err != nil {
			return races, err
		}
		s, err := p.lookApart(c)
		outcomes := wait(under)
		if old != nil {
			old.Close()
		}
		old = c
		if err == nil {
			err = p.model.told(outcomes)
		}
		if err == nil {
			err = p.model.found(s)
		}
		if err == nil {
			err = s.balance(p.letters)
		}
		if err != nil {
			return races, fmt.Errorf("hop %d: %w", n, err)
		}
		for _, o := range outcomes {
			if tooLate(o) {
				races++
			}
		}
		guess := p.model.may[0]
		under = nil
		for range r.IntN(30) {
			o := p.randomOp(r, guess)
			guess, _ = o.apply(guess)
			under = append(under, start(c, o))
		}
		if len(under) > 0 {
			under[r.IntN(len(under))].pending.Wait() // it leaves in the middle
		}
	}
	return races, p.model.told(wait(under))
}

// tooLate says that a call was not carried out, or nobody was told, because the other daemon had the player.
func tooLate(o outcome) bool {
	return o.ending != settled && (strings.Contains(o.answer, "somewhere else") || strings.Contains(o.answer, "on another server"))
}

func wait(under []*call) []outcome {
	var done []outcome
	for _, c := range under {
		done = append(done, c.wait())
	}
	return done
}
