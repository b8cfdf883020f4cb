package players

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

func TestFirstLoginMakesThePlayer(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		mail := game.Mail{Title: "Welcome!", Gold: 50, Items: map[string]int64{"potion": 2}, SentMS: 1, ExpiresMS: 1 << 50}
		n := newNode(t, s, func(o *Options) {
			o.New = func(uid uint64, now time.Time) (game.Player, []game.Mail) {
				return game.NewPlayer(uid, 100, now.Truncate(time.Millisecond)), []game.Mail{mail}
			}
		})
		if _, err := result(t, give(n.Players, 7, 1)); wire.CodeOf(err) != wire.NotFound {
			t.Errorf("a change before the first login: %v", err)
		}
		if _, err := result(t, Look(n.Players, 7, func(*State) (int, error) { return 1, nil })); wire.CodeOf(err) != wire.NotFound {
			t.Errorf("a look before the first login: %v", err)
		}
		n.login(7)
		here := n.state(7)
		if here.Player.Name != "player7" || here.Player.Gold != 100 || here.Player.UID != 7 || len(here.Mail) != 1 {
			t.Errorf("a new player is %+v", here)
		}
		there := newNode(t, s).state(7)
		if !reflect.DeepEqual(here, there) {
			t.Errorf("SQL has %+v\nmemory has %+v", there, here)
		}
	})
}

func TestLargestUIDs(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	for _, uid := range []uint64{1 << 63, 1<<64 - 1} {
		n.login(uid)
		must(t, give(n.Players, uid, 5))
		if got := n.stored(uid); got != 105 {
			t.Errorf("uid %d has %d", uid, got)
		}
	}
	if _, err := result(t, n.Login(0)); wire.CodeOf(err) != wire.InvalidArgument {
		t.Errorf("uid 0: %v", err)
	}
}

func TestChangesOfOnePlayerFollowOneAnother(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		n := newNode(t, s)
		n.login(7)
		var all []*future.Future[int64]
		for range 50 {
			all = append(all, give(n.Players, 7, 1))
		}
		for i, f := range all {
			if got := must(t, f); got != int64(101+i) {
				t.Fatalf("change %d saw %d", i, got)
			}
		}
		if got := n.stored(7); got != 150 {
			t.Errorf("SQL has %d", got)
		}
	})
}

func TestEverythingOfAPlayerIsStoredAndLoaded(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		n := newNode(t, s)
		n.login(7)
		must(t, n.SendMail(7, game.Mail{Title: "reward", Gold: 9, SentMS: 10, ExpiresMS: 1 << 50}, "test"))
		must(t, n.SendMail(7, game.Mail{Title: "old", SentMS: 1, ExpiresMS: 2}, "test 2"))
		must(t, Change(n.Players, 7, func(d *Draft) (int, error) {
			p := d.Player()
			p.Gold, p.Level, p.Items = 3, 4, map[string]int64{"sword": 1}
			d.SetPlayer(p)
			d.Rename("Ännchen")
			d.PutSave("a'; DROP TABLE saves; --", game.Save{Value: []byte{0xc4, 1, 0xff}, Version: 1, UpdatedMS: 11})
			d.PutSave("gone", game.Save{Value: []byte{0xc0}, Version: 1, UpdatedMS: 11})
			d.ClaimMail(mailCalled(d.State(), "reward").ID)
			d.PutBest("main", game.Best{Score: -5, Came: 12})
			return 0, nil
		}))
		must(t, Change(n.Players, 7, func(d *Draft) (int, error) { d.DeleteSave("gone"); return 0, nil }))
		here := n.state(7)
		here.Mail = slices.DeleteFunc(here.Mail, func(m game.Mail) bool { return m.Title == "old" }) // expired when read again
		there := newNode(t, s).state(7)
		here.Player.Created = here.Player.Created.Truncate(time.Millisecond)
		if !reflect.DeepEqual(here, there) {
			t.Errorf("SQL has %+v\nmemory has %+v", there, here)
		}
		if len(there.Saves) != 1 || there.Player.Gold != 3 || there.Mail[0].ClaimedMS == 0 || there.Player.Name != "Ännchen" {
			t.Errorf("loaded %+v", there)
		}
		if owner := must(t, n.NameOwner("ÄNNCHEN")); owner != 7 {
			t.Errorf("the name belongs to %d", owner)
		}
	})
}

func TestAChangeThatFailsChangesNothing(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(7)
	before := n.state(7)
	no := errors.New("no")
	spoil := func(d *Draft) {
		p := d.Player()
		p.Gold, p.Items = 0, map[string]int64{"x": 1}
		d.SetPlayer(p)
		d.PutSave("k", game.Save{Value: []byte{1}, Version: 1})
		d.OnCommit(func() { t.Error("told of a commit") })
	}
	if _, err := result(t, Change(n.Players, 7, func(d *Draft) (int, error) { spoil(d); return 1, no })); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	var panicked *future.PanicError
	if _, err := result(t, Change(n.Players, 7, func(d *Draft) (int, error) { spoil(d); panic("at the disco") })); !errors.As(err, &panicked) {
		t.Errorf("got %v", err)
	}
	if after := n.state(7); !reflect.DeepEqual(before, after) {
		t.Errorf("changed to %+v", after)
	}
	if got := must(t, Change(n.Players, 7, func(d *Draft) (int, error) { return 5, nil })); got != 5 {
		t.Errorf("a change that writes nothing: %d", got)
	}
}

func TestNamesAndClaimsAreUniqueInSQL(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		n := newNode(t, s)
		rename := func(uid uint64, name string) error {
			_, err := result(t, Change(n.Players, uid, func(d *Draft) (int, error) { d.Rename(name); return 0, nil }))
			return err
		}
		n.login(1)
		n.login(2)
		if err := rename(1, "Bob"); err != nil {
			t.Fatal(err)
		}
		if err := rename(2, "bOB"); !errors.Is(err, commit.ErrDuplicate) {
			t.Errorf("a taken name: %v", err)
		}
		if got := n.state(2).Player.Name; got != "player2" {
			t.Errorf("the name is %q", got)
		}
		if err := errors.Join(rename(1, "BOB"), rename(1, "Alice"), rename(2, "bob"), rename(1, "player1"), rename(2, "alice")); err != nil {
			t.Errorf("names that are free: %v", err)
		}
		must(t, n.SendMail(1, game.Mail{Title: "x", SentMS: 1, ExpiresMS: 1 << 50}, "x"))
		claim := func() error {
			_, err := result(t, Change(n.Players, 1, func(d *Draft) (int, error) { d.ClaimMail(d.State().Mail[0].ID); return 0, nil }))
			return err
		}
		if err := claim(); err != nil {
			t.Fatal(err)
		}
		if err := claim(); !errors.Is(err, commit.ErrDuplicate) {
			t.Errorf("a second claim: %v", err)
		}
	})
}

// Of several renames in one change the last one counts, also back to the name
// that the player had.
func TestRenamesOfOneChange(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		n := newNode(t, s)
		n.login(1)
		rename := func(names ...string) {
			t.Helper()
			must(t, Change(n.Players, 1, func(d *Draft) (int, error) {
				for _, name := range names {
					d.Rename(name)
				}
				return 0, nil
			}))
			if got, want := n.state(1).Player.Name, names[len(names)-1]; got != want {
				t.Errorf("after %q the name is %q", names, got)
			}
		}
		rename("Alice")
		rename("Bob", "Alice")
		rename("Bob", "player1", "Carol")
		n.login(2)
		for _, free := range []string{"Alice", "Bob"} {
			must(t, Change(n.Players, 2, func(d *Draft) (int, error) { d.Rename(free); return 0, nil }))
		}
		if _, err := result(t, Change(n.Players, 2, func(d *Draft) (int, error) { d.Rename("carol"); return 0, nil })); !errors.Is(err, commit.ErrDuplicate) {
			t.Errorf("a taken name: %v", err)
		}
	})
}

func TestSendMail(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	m := game.Mail{Title: "x", Gold: 1, SentMS: 5, ExpiresMS: 1 << 50}
	if !must(t, n.SendMail(7, m, "daily 1")) { // nobody has seen this player yet
		t.Error("not sent")
	}
	if must(t, n.SendMail(7, m, "daily 1")) {
		t.Error("the same source twice made two mails")
	}
	n.login(7)
	first := m
	first.Title, first.SentMS = "earlier", 1
	if !must(t, n.SendMail(7, first, "daily 2")) {
		t.Error("not sent to one who is online")
	}
	got := n.state(7).Mail
	if len(got) != 2 || got[0].Title != "earlier" || got[1].Title != "x" || got[0].ID < 1 || got[0].ID == got[1].ID {
		t.Errorf("mail is %+v", got)
	}
	n.mu.Lock()
	if !reflect.DeepEqual(n.arrived, []game.Mail{got[1], got[0]}) {
		t.Errorf("arrived %+v", n.arrived)
	}
	n.mu.Unlock()
	for what, err := range map[string]error{
		"no title":        errOf(t, n.SendMail(7, game.Mail{SentMS: 1, ExpiresMS: 2}, "x")),
		"no source":       errOf(t, n.SendMail(7, m, "")),
		"a long source":   errOf(t, n.SendMail(7, m, strings.Repeat("x", 65))),
		"bytes as source": errOf(t, n.SendMail(7, m, "\xff")),
	} {
		if wire.CodeOf(err) != wire.InvalidArgument {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(n.state(7).Mail) != 2 {
		t.Error("something that was refused was sent")
	}
}

// mailCalled is the mail with a title.
func mailCalled(s *State, title string) game.Mail {
	return s.Mail[slices.IndexFunc(s.Mail, func(m game.Mail) bool { return m.Title == title })]
}

func TestMailThatComesDuringALoadIsThereOnce(t *testing.T) {
	s := sqliteStore(t)
	newNode(t, s).login(7)
	for round := range 20 {
		n := newNode(t, s)
		login := n.Login(7)
		sent := n.SendMail(7, game.Mail{Title: "x", SentMS: 5, ExpiresMS: 1 << 50}, fmt.Sprint(round))
		must(t, login)
		must(t, sent)
		if got := n.state(7).Mail; len(got) != round+1 {
			t.Fatalf("%d mails after %d were sent", len(got), round+1)
		}
	}
}

func TestAnotherProcessTakesThePlayerOver(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		a, b := newNode(t, s), newNode(t, s)
		a.login(7)
		must(t, give(a.Players, 7, 1))
		b.login(7)
		if got := must(t, give(b.Players, 7, 10)); got != 111 {
			t.Errorf("the second process began from %d", got-10)
		}
		for range 2 { // the second time without asking SQL
			if _, err := result(t, give(a.Players, 7, 1000)); wire.CodeOf(err) != wire.Aborted {
				t.Errorf("a change of old state: %v", err)
			}
		}
		if got := b.stored(7); got != 111 {
			t.Errorf("SQL has %d", got)
		}
		a.loops[1].advance(lostGrace)
		a.mu.Lock()
		lost := a.lost
		a.mu.Unlock()
		if !slices.Equal(lost, []uint64{7}) || a.logs.FilterMessageSnippet("lost a player").Len() != 1 {
			t.Errorf("lost %v, logged %v", lost, a.logs.All())
		}
		a.logout(7)
		a.login(7)
		if got := must(t, give(a.Players, 7, 1)); got != 112 {
			t.Errorf("back in the first process it is %d", got)
		}
		if _, err := result(t, give(b.Players, 7, 1000)); wire.CodeOf(err) != wire.Aborted {
			t.Errorf("a change in the second process: %v", err)
		}
	})
}

func TestTwoProcessesRaceForPlayers(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		nodes := []*node{newNode(t, s), newNode(t, s)}
		const uids = 4
		var mu sync.Mutex
		acknowledged := map[uint64]int64{}
		var all sync.WaitGroup
		for i, n := range nodes {
			for uid := uint64(1); uid <= uids; uid++ {
				all.Go(func() {
					rng := rand.New(rand.NewPCG(seed, uint64(i)<<32|uid))
					for range 20 {
						if rng.IntN(3) == 0 {
							if _, err := n.Login(uid).Wait(testContext(t)); err != nil {
								t.Error(err)
							}
						}
						_, err := give(n.Players, uid, 1).Wait(testContext(t))
						switch {
						case err == nil:
							mu.Lock()
							acknowledged[uid]++
							mu.Unlock()
						case wire.CodeOf(err) != wire.Aborted && wire.CodeOf(err) != wire.NotFound:
							t.Error(err)
						}
					}
				})
			}
		}
		all.Wait()
		for uid, n := range acknowledged {
			if got := nodes[0].stored(uid); got != 100+n {
				t.Errorf("player %d has %d after %d acknowledged additions to 100", uid, got, n)
			}
		}
	})
}

func TestWhoIsOnlineStaysInMemoryAndOthersLinger(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(2)
	n.login(4)
	n.logout(4)
	l := n.loops[0]
	l.advance(59 * time.Second)
	if !n.inMemory(2) || !n.inMemory(4) {
		t.Error("forgotten too early")
	}
	l.advance(time.Second)
	if !n.inMemory(2) || n.inMemory(4) {
		t.Errorf("after the time: online in memory %v, gone in memory %v", n.inMemory(2), n.inMemory(4))
	}
	n.logout(2)
	l.advance(30 * time.Second)
	n.login(2) // back in time
	l.advance(10 * time.Minute)
	if !n.inMemory(2) {
		t.Error("forgot one who had come back")
	}
	if got := n.state(4).Player.Gold; got != 100 { // read for this look alone
		t.Errorf("gold %d", got)
	}
	if n.inMemory(4) {
		t.Error("a look keeps a player in memory")
	}
}

func TestOfThoseWhoLingerTheLongestGoneLeave(t *testing.T) {
	n := newNode(t, sqliteStore(t), func(o *Options) { o.MaxLingering = 6 }) // 3 on each loop
	for _, uid := range []uint64{2, 4, 6} {
		n.login(uid)
		n.logout(uid)
	}
	n.state(2) // used last
	n.login(8)
	n.logout(8)
	if n.inMemory(4) || !n.inMemory(2) || !n.inMemory(6) || !n.inMemory(8) {
		t.Errorf("in memory: 2 %v, 4 %v, 6 %v, 8 %v", n.inMemory(2), n.inMemory(4), n.inMemory(6), n.inMemory(8))
	}
}

func TestThoseWhoLingerAreBoundInBytes(t *testing.T) {
	n := newNode(t, sqliteStore(t), func(o *Options) { o.MaxLingeringBytes = 2 * 20_000 })
	for _, uid := range []uint64{2, 4} {
		n.login(uid)
		must(t, Change(n.Players, uid, func(d *Draft) (int, error) {
			d.PutSave("big", game.Save{Value: make([]byte, 8000), Version: 1})
			return 0, nil
		}))
		n.logout(uid)
	}
	if !n.inMemory(2) || !n.inMemory(4) {
		t.Error("forgotten within the bound")
	}
	for i := range 20 {
		must(t, n.SendMail(2, game.Mail{Title: strings.Repeat("x", 200), SentMS: 1, ExpiresMS: 1 << 50}, fmt.Sprint(i)))
	}
	n.login(6)
	n.logout(6)
	if n.inMemory(2) || !n.inMemory(4) || !n.inMemory(6) {
		t.Errorf("in memory: 2 %v, 4 %v, 6 %v", n.inMemory(2), n.inMemory(4), n.inMemory(6))
	}
	n.on(2, func() {
		s := n.shard(2)
		var size int64
		count := 0
		for e := s.idleFirst; e != nil; e = e.next {
			size += e.size
			count++
			if e.size != stateSize(&e.state) {
				t.Errorf("player %d counts as %d bytes, has %d", e.uid, e.size, stateSize(&e.state))
			}
		}
		if s.idleBytes != size || s.idle != count {
			t.Errorf("the books say %d players with %d bytes, there are %d with %d", s.idle, s.idleBytes, count, size)
		}
	})
}

func TestPurgeDeletesWhatExpired(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		n := newNode(t, s)
		n.login(7)
		for i := range int64(450) {
			m := game.Mail{Title: fmt.Sprint(i), SentMS: 1, ExpiresMS: 1000 + i}
			must(t, n.SendMail(7, m, fmt.Sprint(i)))
		}
		must(t, Change(n.Players, 7, func(d *Draft) (int, error) {
			d.ClaimMail(mailCalled(d.State(), "0").ID)
			d.ClaimMail(mailCalled(d.State(), "449").ID)
			return 0, nil
		}))
		deleted, err := n.Purge(testContext(t), 1449)
		if err != nil || deleted != 449 {
			t.Errorf("deleted %d: %v", deleted, err)
		}
		row, err := n.db.FetchOneContext(testContext(t), `SELECT (SELECT COUNT(*) FROM mail), (SELECT COUNT(*) FROM claims)`)
		var mails, claims int64
		if err == nil {
			err = row.Scan(&mails, &claims)
		}
		if err != nil || mails != 1 || claims != 1 {
			t.Errorf("left: %d mails, %d claims, %v", mails, claims, err)
		}
	})
}

func TestAnswersComeInTimeWhenSQLStalls(t *testing.T) {
	server := storetest.MariaDBAlone(t)
	n := newNode(t, storetest.Store{Driver: string(store.MySQL), DSN: server.DSN})
	n.login(2)
	n.login(4)
	server.Stall()
	var heard error
	first := Change(n.Players, 2, func(d *Draft) (int64, error) { // on its way
		d.OnFail(func(err error) error { heard = err; return err })
		p := d.Player()
		p.Gold++
		d.SetPlayer(p)
		return p.Gold, nil
	})
	n.on(2, func() {})
	second := give(n.Players, 2, 1) // waits for the first
	login := n.Login(6)
	if got := must(t, Look(n.Players, 2, func(s *State) (int64, error) { return s.Player.Gold, nil })); got != 100 {
		t.Errorf("reading while SQL stalls: %d", got)
	}
	n.loops[0].advance(testTimeout)
	for i, err := range []error{errOf(t, first), errOf(t, second), errOf(t, login)} {
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != wire.Unavailable || e.RetryAfter <= 0 {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n.on(2, func() {}); wire.CodeOf(heard) != wire.Unavailable {
		t.Errorf("OnFail of the first: %v", heard)
	}
	server.Resume()
	after := must(t, give(n.Players, 2, 10)) // begins when it is known what became of the first
	if after != 110 && after != 111 {
		t.Errorf("gold %d", after)
	}
	if got := n.stored(2); got != after || n.state(2).Player.Gold != after {
		t.Errorf("SQL has %d, memory %d, a client was told %d", got, n.state(2).Player.Gold, after)
	}
}

// Whatever a change fails by, its draft hears it before the caller, and may say more.
func TestOnFailHearsWhatTheCallerIsToldAndSaysMore(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(2)
	n.login(4)
	more := errors.New("more")
	for _, c := range []struct {
		what string
		fn   func(d *Draft) (int, error)
		want error
	}{
		{"the function fails", func(*Draft) (int, error) { return 0, errNotKnown() }, errNotKnown()},
		{"the function panics", func(*Draft) (int, error) { panic("on purpose") }, &future.PanicError{Value: "on purpose"}},
		{"the store has it already", func(d *Draft) (int, error) {
			d.Write(commit.Row{Op: commit.Insert, Table: names, Values: []any{"taken", int64(9)}})
			return 0, nil
		}, commit.ErrDuplicate},
		{"a row that cannot be", func(d *Draft) (int, error) { d.Write(commit.Row{Table: names}); return 0, nil }, errors.New("commit: table names: 0 values for 2 columns")},
		{"nothing fails", func(*Draft) (int, error) { return 0, nil }, nil},
		{"nothing fails, and it writes", func(d *Draft) (int, error) { d.SetPlayer(d.Player()); return 0, nil }, nil},
	} {
		if c.what == "the store has it already" {
			must(t, Change(n.Players, 4, func(d *Draft) (int, error) { d.Rename("taken"); return 0, nil }))
		}
		var heard []error
		_, err := result(t, Change(n.Players, 2, func(d *Draft) (int, error) {
			d.OnFail(func(error) error { panic("costs nothing else") })
			d.OnFail(func(err error) error { heard = append(heard, err); return more })
			return c.fn(d)
		}))
		if c.want == nil {
			if err != nil || len(heard) != 0 {
				t.Errorf("%s: %v, heard %v", c.what, err, heard)
			}
			continue
		}
		if len(heard) != 1 || !errors.Is(heard[0], c.want) && heard[0].Error() != c.want.Error() || err != more {
			t.Errorf("%s: %v, heard %v, want %v", c.what, err, heard, c.want)
		}
	}
}

func errOf[T any](t *testing.T, f *future.Future[T]) error {
	t.Helper()
	_, err := result(t, f)
	return err
}

func TestAKilledServerLosesNothingThatWasAcknowledged(t *testing.T) {
	server := storetest.MariaDBAlone(t)
	n := newNode(t, storetest.Store{Driver: string(store.MySQL), DSN: server.DSN}, func(o *Options) {
		o.Timeout = 300 * time.Millisecond // of the reader; changes wait by the loops' time
	})
	n.login(2)
	must(t, give(n.Players, 2, 1))
	server.Kill()
	change := give(n.Players, 2, 1)
	read := Look(n.Players, 99, func(*State) (int, error) { return 0, nil })
	if err := errOf(t, read); wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("reading somebody who is not in memory: %v", err)
	}
	server.Start()
	if got := must(t, change); got != 102 { // it has waited for the server
		t.Errorf("gold %d", got)
	}
	if got := n.stored(2); got != 102 {
		t.Errorf("SQL has %d", got)
	}
}
