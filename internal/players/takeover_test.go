package players

import (
	"errors"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// A mail that another process has sent is there after the next login, also when
// the state has been in memory all the time.
func TestALoginFindsMailOfAnotherProcess(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		if s.Driver == "sqlite" {
			t.Log("one process has it")
			return
		}
		a, b := newNode(t, s), newNode(t, s)
		a.login(7)
		must(t, a.SendMail(7, game.Mail{Title: "second", Gold: 1, SentMS: 2, ExpiresMS: 1 << 50}, "a"))
		must(t, Change(a.Players, 7, func(d *Draft) (int, error) { d.ClaimMail(mailCalled(d.State(), "second").ID); return 0, nil }))
		must(t, b.SendMail(7, game.Mail{Title: "first", SentMS: 1, ExpiresMS: 1 << 50}, "b"))
		a.login(7) // on another connection
		got := a.state(7).Mail
		if len(got) != 2 || got[0].Title != "first" || got[1].ClaimedMS == 0 {
			t.Errorf("mail is %+v", got)
		}
	})
}

// A player who was deleted by hand, but not the mails: the next login makes the
// player, without those that are there.
func TestLoginMakesAPlayerWhoseMailsAreThere(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		n := newNode(t, s, func(o *Options) {
			o.New = func(uid uint64, now time.Time) (game.Player, []game.Mail) {
				return game.NewPlayer(uid, 100, now), []game.Mail{{Title: "Welcome!", SentMS: 1, ExpiresMS: 1 << 50}}
			}
		})
		must(t, n.SendMail(7, game.Mail{Title: "there", SentMS: 1, ExpiresMS: 1 << 50}, "new player 0"))
		n.login(7)
		if got := n.state(7); got.Player.Gold != 100 || len(got.Mail) != 1 || got.Mail[0].Title != "there" {
			t.Errorf("%+v", got)
		}
	})
}

// Between the answer to a login and its session's arrival the state waits, even
// if there is room for nobody; and it stays when a session takes another's place.
func TestAfterALoginTheStateWaitsForTheSession(t *testing.T) {
	n := newNode(t, sqliteStore(t), func(o *Options) { o.MaxLingeringBytes = 1 })
	must(t, n.Login(2))
	if !n.inMemory(2) {
		t.Error("the state is gone before the session came")
	}
	n.on(2, func() { n.Online(2) })
	must(t, n.Login(2))
	n.on(2, func() { n.Offline(2); n.Online(2) })
	n.loops[0].advance(testTimeout)
	if !n.inMemory(2) {
		t.Error("the state of one who is online is gone")
	}
	n.logout(2)
	if n.inMemory(2) {
		t.Error("there is no room for those who have gone")
	}
	must(t, n.Login(4)) // and nobody comes
	must(t, n.Login(4))
	n.loops[0].advance(testTimeout)
	n.on(4, func() {
		if e := n.shard(4).entries[4]; e != nil {
			t.Errorf("nobody came, and still there is %+v", e)
		}
	})
}

// A function that panics when its change is stored takes nothing back.
func TestAPanicAfterTheCommitIsNoFailure(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(2)
	for i := range 2 {
		put := Change(n.Players, 2, func(d *Draft) (int, error) {
			d.OnCommit(func() { panic("at the disco") })
			if i == 1 {
				d.PutSave("k", game.Save{Value: []byte{1}, Version: 1})
			}
			return i, nil
		})
		next := give(n.Players, 2, 1)
		if got := must(t, put); got != i {
			t.Errorf("got %d", got)
		}
		must(t, next)
	}
	if got := n.state(2); len(got.Saves) != 1 || got.Player.Gold != 102 {
		t.Errorf("%+v", got)
	}
	if n.logs.FilterMessage("panic after a commit").Len() != 2 {
		t.Errorf("logged %v", n.logs.All())
	}
}

// One player's row that cannot be read costs nobody else the login.
func TestAPlayerWhoCannotBeReadFailsAlone(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	for _, uid := range []uint64{2, 4, 6} {
		must(t, n.Login(uid))
	}
	if _, err := n.db.ExecContext(testContext(t), `UPDATE players SET items = ? WHERE uid = ?`, []byte("["), int64(4)); err != nil {
		t.Fatal(err)
	}
	var batch []request
	for _, uid := range []uint64{2, 4, 6} {
		batch = append(batch, request{uid: uid, until: time.Now().Add(testTimeout), done: future.New[*State]()})
	}
	n.loader.answer(batch)
	for _, r := range batch {
		s, err := result(t, r.done)
		if bad := r.uid == 4; bad != (err != nil) || !bad && s.Player.Gold != 100 {
			t.Errorf("player %d: %v, %v", r.uid, s, err)
		}
	}
}

// A change that waits for something else first is answered in time all the same.
func TestChangeIf(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	n.login(2)
	put := func(check *future.Future[struct{}]) *future.Future[int] {
		return ChangeIf(n.Players, 2, check, func(d *Draft) (int, error) {
			p := d.Player()
			p.Gold++
			d.SetPlayer(p)
			return 1, nil
		})
	}
	must(t, put(future.Resolved(struct{}{})))
	no := errors.New("no")
	if err := errOf(t, put(future.Failed[struct{}](no))); err != no {
		t.Errorf("got %v", err)
	}
	late := future.New[struct{}]()
	waits := put(late)
	n.on(2, func() {})
	n.loops[0].advance(testTimeout)
	if err := errOf(t, waits); wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("got %v", err)
	}
	late.Resolve(struct{}{})
	n.on(2, func() {})
	must(t, Change(n.Players, 2, func(*Draft) (int, error) { return 0, nil }))
	if got := n.state(2).Player.Gold; got != 101 {
		t.Errorf("gold %d", got)
	}
}

// Who came last is not told that the store does not answer because the time of
// another, who is read together with them, is over.
func TestTheTimeOfOneReadIsNotThatOfAnother(t *testing.T) {
	n := newNode(t, sqliteStore(t))
	must(t, n.Login(4))
	late := request{uid: 2, until: time.Now(), done: future.New[*State]()}
	last := request{uid: 4, until: time.Now().Add(testTimeout), done: future.New[*State]()}
	n.loader.answer([]request{late, last})
	if s, err := result(t, last.done); err != nil || s.Player.Gold != 100 {
		t.Errorf("%v, %v", s, err)
	}
}

// A call that began before the player was lost, and goes on when the session has gone, takes nobody over.
func TestACallOfALostSessionTakesNobodyOver(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		a, b := newNode(t, s), newNode(t, s)
		a.login(7)
		check := future.New[struct{}]()
		late := ChangeIf(a.Players, 7, check, func(d *Draft) (int, error) {
			p := d.Player()
			p.Gold += 1000
			d.SetPlayer(p)
			return 1, nil
		})
		b.login(7)
		if _, err := result(t, give(a.Players, 7, 1000)); wire.CodeOf(err) != wire.Aborted {
			t.Errorf("a change of old state: %v", err)
		}
		a.logout(7)
		check.Resolve(struct{}{})
		if _, err := result(t, late); wire.CodeOf(err) != wire.Aborted {
			t.Errorf("a change of a session that has gone: %v", err)
		}
		if got := must(t, give(b.Players, 7, 10)); got != 110 {
			t.Errorf("the player has %d", got)
		}
	})
}
