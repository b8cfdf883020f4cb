package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/internal/storetest"
)

const (
	playersAtOnce = 10
	lettersEach   = 60
	// eraKills is after how many kills new players take over, with mail that is not claimed yet.
	eraKills = 8
	// promisedBack is how soon after the database's return everybody is answered again. On a machine that does a lot
	// else it may be later, but not every time.
	promisedBack = 5 * time.Second
)

// number is an environment variable's, or the default.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// seed is the run's, printed by each test.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := number(t, "GAMESERVERD_SEED", rand.Uint64())
	t.Logf("GAMESERVERD_SEED=%d", s)
	return s
}

// kills is how many kills a test is to do of the daemon: half of them all.
func kills(t *testing.T) int {
	t.Helper()
	return int(number(t, "GAMESERVERD_KILLS", 50)+1) / 2
}

func TestKillsOverSQLite(t *testing.T) {
	in := newInstallation(t)
	(&series{t: t, in: in, db: sqliteIn(in.dir), seed: seed(t)}).run(kills(t))
}

func TestKillsOverMariaDB(t *testing.T) {
	server, redis := storetest.MariaDBAlone(t), storetest.RedisAlone(t)
	db := database{"mysql", server.DSN}
	in := newInstallation(t, append(append(db.env(), boardsIn(redis)...), "GAMESERVERD_STORE_TIMEOUT=500ms")...)
	(&series{t: t, in: in, db: db, server: server, redis: redis, seed: seed(t)}).run(kills(t))
}

// series is a series of kills on one database.
type series struct {
	t      *testing.T
	in     *installation
	db     database
	server *storetest.Server // nil: sqlite
	redis  *storetest.Server // nil: the boards are in memory
	seed   uint64

	round   int
	rng     *rand.Rand // of the round
	players []*player  // of the era

	serverKills int
	redisKills  int
	returns     int    // of the server, with the daemon alive
	late        int    // of these, after which the daemon needed longer than promisedBack
	ends        [4]int // outcomes by ending
	slowest     time.Duration
	mu          sync.Mutex // guards ends
}

func (m *series) run(kills int) {
	began := time.Now()
	m.in.serve().kill() // makes the tables
	for m.round = 1; m.round <= kills; m.round++ {
		if m.t.Failed() {
			return
		}
		m.rng = rand.New(rand.NewPCG(m.seed, uint64(m.round)))
		if (m.round-1)%eraKills == 0 {
			m.endEra()
			m.players = newPlayers(m.rng, playersAtOnce, lettersEach)
			m.db.post(m.t, m.players)
		}
		m.oneRound()
	}
	m.endEra()
	m.t.Logf("%d kills of the daemon, %d of the server and %d of Redis in %v; calls settled %d, undone %d, unknown %d, lost %d; the daemon was back at most %v after the server",
		kills, m.serverKills, m.redisKills, time.Since(began).Round(time.Millisecond), m.ends[settled], m.ends[undone], m.ends[unknown], m.ends[lost], m.slowest.Round(time.Millisecond))
	if kills >= 10 && (m.ends[settled] < 10*kills || m.ends[lost] == 0) {
		m.t.Error("too little was under way for the kills to mean anything")
	}
	if m.returns > 1 && m.late == m.returns {
		m.t.Errorf("after all %d returns of the server the daemon needed longer than %v", m.returns, promisedBack)
	}
}

// endEra looks at all players of the era once more, and at what they have in common.
func (m *series) endEra() {
	if m.players == nil || m.t.Failed() {
		return
	}
	d := m.in.serve()
	names := map[string]uint64{}
	for _, p := range m.players {
		c, err := p.connect(d.addr)
		if err != nil {
			m.t.Fatal(err)
		}
		m.check(p.verify(c))
		names[fold(p.model.may[0].name)] = p.uid
		if p == m.players[len(m.players)-1] {
			m.check(boardFits(c, m.players))
		}
		c.Close()
	}
	if len(names) != len(m.players) {
		m.t.Errorf("%d players have %d names: %v", len(m.players), len(names), names)
	}
	m.freeNames(d, names)
	d.kill()
}

// freeNames gives a player each of the contested names that nobody has: a call that was lost must not keep a name.
func (m *series) freeNames(d *daemon, names map[string]uint64) {
	p := m.players[0]
	c, err := p.connect(d.addr)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	var done []outcome
	for i := range contestedNames {
		name := p.contestedName(i)
		if owner := names[fold(name)]; owner == 0 || owner == p.uid {
			done = append(done, start(c, renameOp(name, false)).wait())
		}
	}
	m.check(p.model.told(done))
}

func (m *series) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Errorf("round %d, seed %d: %v", m.round, m.seed, err)
	}
}

// oneRound starts a daemon, has everybody play, and kills it.
func (m *series) oneRound() {
	if m.rng.IntN(8) == 0 { // it dies while starting
		d := m.in.start()
		m.sleep(250)
		d.kill()
	}
	d := m.in.serve()
	var all, verified sync.WaitGroup
	for i, p := range m.players {
		all.Add(1)
		verified.Add(1)
		r := rand.New(rand.NewPCG(m.seed, uint64(m.round)<<16+uint64(i)+1))
		go func() {
			defer all.Done()
			m.session(p, d, r, sync.OnceFunc(verified.Done))
		}()
	}
	if m.rng.IntN(8) > 0 { // else it may die while they log in
		verified.Wait()
	}
	m.sleep(200)
	down := false
	if m.redis != nil && m.rng.IntN(4) == 0 { // it comes back empty, and soon, or when the daemon has gone
		m.redis.Kill()
		m.redisKills++
		m.sleep(100)
		if m.rng.IntN(2) == 0 {
			m.redis.Start()
			m.sleep(100)
		}
	}
	if m.server != nil && m.rng.IntN(4) == 0 {
		down = m.killServer()
	}
	d.kill()
	all.Wait()
	if down {
		m.server.Start()
	}
	if m.redis != nil {
		m.redis.Start()
	}
}

// killServer kills the database's server. It says whether that is still down, so that the daemon dies without it; else
// the daemon has had time to recover.
func (m *series) killServer() (down bool) {
	m.server.Kill()
	m.serverKills++
	if m.rng.IntN(2) == 0 {
		m.sleep(100)
		return true
	}
	m.sleep(700)
	m.server.Start()
	m.redis.Start() // who had not looked at everything yet needs the boards for it
	began := time.Now()
	for _, p := range m.players {
		m.check(p.moves(began.Add(deadline)))
	}
	took := time.Since(began)
	m.slowest = max(m.slowest, took)
	m.returns++
	if took > promisedBack {
		m.late++
		m.t.Logf("round %d, seed %d: the daemon needed %v after the server had come back", m.round, m.seed, took)
	}
	m.sleep(100)
	return false
}

// moves waits until a change of the player was answered.
func (p *player) moves(late time.Time) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for before := p.answered.Load(); p.answered.Load() == before; <-tick.C {
		if time.Now().After(late) {
			return fmt.Errorf("player %d: no change was answered for %v after the server had come back", p.uid, deadline)
		}
	}
	return nil
}

// sleep lets up to so many milliseconds pass: when the kill comes is what the test is about.
func (m *series) sleep(most int) { <-moment(m.rng, most) }

func moment(r *rand.Rand, most int) <-chan time.Time {
	return time.After(time.Duration(r.Int64N(int64(most) * int64(time.Millisecond))))
}

// session is one player's connection in one round: first everything is to be as the model says, then it is changed.
func (m *series) session(p *player, d *daemon, r *rand.Rand, verified func()) {
	defer verified()
	c, err := p.connect(d.addr)
	if err == nil {
		defer c.Close()
		err = p.verify(c)
	}
	if err != nil {
		if err != errLost || !d.killed.Load() {
			m.check(err)
		}
		return
	}
	verified()
	outcomes := p.play(c, r, 1+r.IntN(4), nil)
	if !d.killed.Load() {
		m.check(fmt.Errorf("player %d: the connection ended while the daemon lived: %v", p.uid, c.Err()))
	}
	m.check(p.model.told(outcomes))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range outcomes {
		m.ends[o.ending]++
	}
}

// verify reads the player's state and compares it with the model.
func (p *player) verify(c *client.Client) error {
	s, err := p.look(c)
	if err != nil {
		return err
	}
	if err := p.model.found(s); err != nil {
		return err
	}
	if err := s.balance(p.letters); err != nil {
		return p.model.violation("%v", err)
	}
	return nil
}
