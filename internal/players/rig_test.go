package players

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m, goleak.IgnoreCurrent()) }

// clockLoop is a loop of one goroutine whose time stands still unless a test
// advances it.
type clockLoop struct {
	mu     sync.Mutex
	queue  []func()
	timers map[int]timer
	next   int
	now    time.Time
	ended  bool
	wake   chan struct{}
	done   chan struct{}
}

type timer struct {
	at time.Time
	fn func()
}

func newLoop(t *testing.T) *clockLoop {
	l := &clockLoop{
		timers: make(map[int]timer), now: time.UnixMilli(1_700_000_000_000), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go l.run()
	t.Cleanup(func() {
		l.mu.Lock()
		l.ended = true
		l.mu.Unlock()
		l.AddCallback(func() {})
		l.poke()
		<-l.done
	})
	return l
}

func (l *clockLoop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *clockLoop) run() {
	defer close(l.done)
	for range l.wake {
		for {
			l.mu.Lock()
			if len(l.queue) == 0 {
				ended := l.ended
				l.mu.Unlock()
				if ended {
					return
				}
				break
			}
			fn := l.queue[0]
			l.queue = l.queue[1:]
			l.mu.Unlock()
			fn()
		}
	}
}

func (l *clockLoop) AddCallback(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.queue = append(l.queue, fn)
	l.poke()
	return true
}

func (l *clockLoop) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *clockLoop) After(d time.Duration, fn func()) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.next
	l.next++
	l.timers[id] = timer{l.now.Add(d), fn}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.timers, id)
	}
}

// advance lets d pass and waits until what was due has run.
func (l *clockLoop) advance(d time.Duration) {
	l.mu.Lock()
	l.now = l.now.Add(d)
	for id, t := range l.timers {
		if !t.at.After(l.now) {
			l.queue = append(l.queue, t.fn)
			delete(l.timers, id)
		}
	}
	l.mu.Unlock()
	l.sync(func() {})
}

// sync runs fn on the loop and waits for it.
func (l *clockLoop) sync(fn func()) {
	ran := make(chan struct{})
	l.AddCallback(func() { fn(); close(ran) })
	<-ran
}

// node is one process: Players with two loops.
type node struct {
	*Players
	t     *testing.T
	db    *store.SQL
	group *commit.Group
	loops []*clockLoop
	logs  *observer.ObservedLogs

	mu      sync.Mutex
	lost    []uint64
	arrived []game.Mail
}

// testTimeout is far away: tests advance the loops' time when they mean it.
const testTimeout = 20 * time.Second

func newNode(t *testing.T, s storetest.Store, set ...func(*Options)) *node {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	log := zap.New(core)
	health := store.NewHealth("sql", log, time.Now)
	db, err := store.OpenSQL(store.SQLOptions{Driver: store.Driver(s.Driver), DSN: s.DSN, Timeout: 2 * time.Second, Log: log, Health: health})
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	if _, err := schema.Up(ctx, db, log); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, db: db, logs: logs, group: commit.New(commit.Options{DB: db, Timeout: 2 * time.Second, Log: log, Health: health, Clock: time.Now})}
	o := Options{
		DB: db, Group: n.group, HomeOf: func(uid uint64) int { return int(uid % 2) },
		New: func(uid uint64, now time.Time) (game.Player, []game.Mail) { return game.NewPlayer(uid, 100, now), nil },
		Arrived: func(uid uint64, m game.Mail) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.arrived = append(n.arrived, m)
		},
		Lost: func(uid uint64) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.lost = append(n.lost, uid)
		},
		Timeout: testTimeout, Linger: time.Minute, MaxLingering: 1000, MaxLingeringBytes: 1 << 30, Log: log, Clock: time.Now,
	}
	for range 2 {
		l := newLoop(t)
		n.loops = append(n.loops, l)
		o.Loops = append(o.Loops, l)
	}
	for _, fn := range set {
		fn(&o)
	}
	n.Players = New(o)
	t.Cleanup(n.close)
	return n
}

func (n *node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.group.Close(ctx); err != nil {
		n.t.Error(err)
	}
	if err := n.Close(ctx); err != nil {
		n.t.Error(err)
	}
	if err := n.db.Close(ctx); err != nil {
		n.t.Error(err)
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// result is what f resolves to, within the test's time.
func result[T any](t *testing.T, f *future.Future[T]) (T, error) {
	t.Helper()
	v, err := f.Wait(testContext(t))
	if err == context.DeadlineExceeded {
		t.Fatal("no answer")
	}
	return v, err
}

func must[T any](t *testing.T, f *future.Future[T]) T {
	t.Helper()
	v, err := result(t, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// login logs uid in and keeps it online.
func (n *node) login(uid uint64) {
	n.t.Helper()
	must(n.t, n.Login(uid))
	n.on(uid, func() { n.Online(uid) })
}

func (n *node) logout(uid uint64) { n.on(uid, func() { n.Offline(uid) }) }

// on runs fn on uid's home loop.
func (n *node) on(uid uint64, fn func()) { n.loops[uid%2].sync(fn) }

// inMemory reports whether the state of uid is in memory.
func (n *node) inMemory(uid uint64) (there bool) {
	n.on(uid, func() {
		e := n.shard(uid).entries[uid]
		there = e != nil && e.loaded
	})
	return there
}

// state is a copy of what n has of uid.
func (n *node) state(uid uint64) State {
	n.t.Helper()
	return must(n.t, Look(n.Players, uid, func(s *State) (State, error) {
		c := State{Player: s.Player.Clone(), Mail: append([]game.Mail(nil), s.Mail...)}
		c.Saves, c.Bests = make(map[string]game.Save), make(map[string]game.Best)
		for k, v := range s.Saves {
			c.Saves[k] = v
		}
		for k, v := range s.Bests {
			c.Bests[k] = v
		}
		return c, nil
	}))
}

// give changes a player's gold by so much.
func give(p *Players, uid uint64, gold int64) *future.Future[int64] {
	return Change(p, uid, func(d *Draft) (int64, error) {
		player := d.Player()
		player.Gold += gold
		d.SetPlayer(player)
		return player.Gold, nil
	})
}

// stored is the gold that SQL has, by a connection of its own.
func (n *node) stored(uid uint64) (gold int64) {
	n.t.Helper()
	row, err := n.db.FetchOneContext(testContext(n.t), `SELECT gold FROM players WHERE uid = ?`, int64(uid))
	if err == nil && row.None() {
		err = fmt.Errorf("no player %d in SQL", uid)
	}
	if err == nil {
		err = row.Scan(&gold)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return gold
}

func sqliteStore(t *testing.T) storetest.Store {
	return storetest.Store{Driver: string(store.SQLite), DSN: filepath.Join(t.TempDir(), "players.db")}
}
