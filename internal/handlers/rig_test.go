package handlers_test

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"gameserverd/internal/auth"
	"gameserverd/internal/boards"
	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/handlers"
	authHandlers "gameserverd/internal/handlers/auth"
	"gameserverd/internal/handlers/duel"
	"gameserverd/internal/handlers/mail"
	"gameserverd/internal/handlers/room"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// server runs the game's own handlers on real stores.
type server struct {
	*rpctest.Server
	players *players.Players

	t      *testing.T
	stores stores
	more   []areas
	db     *store.SQL
	redis  *store.Redis // nil: boards are in memory
	group  *commit.Group
	boards *boards.Boards
	ended  bool
}

// stores is where a server keeps everything.
type stores struct {
	sql   storetest.Store
	redis string // a URL; "": none
}

// linger is how long a player who has gone stays in memory.
const linger = 5 * time.Minute

// areas are more areas than the game's own, built from the parts.
type areas func(p *handlers.Parts) []rpc.Method

// start runs a server on a new database in a file.
func start(t *testing.T, more ...areas) *server {
	t.Helper()
	return startOn(t, stores{sql: storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "game.db")}}, more...)
}

// onStores runs a test on a file, and on servers: MariaDB, and Redis for the
// boards.
func onStores(t *testing.T, test func(t *testing.T, s *server)) {
	t.Run("embedded", func(t *testing.T) { test(t, start(t)) })
	t.Run("servers", func(t *testing.T) {
		redis, sql := storetest.Redis(t), storetest.MariaDB(t)
		test(t, startOn(t, stores{storetest.Store{Driver: "mysql", DSN: sql.DSN}, redis.URL}))
	})
}

// startOn runs a server on what the stores have, as a daemon that starts there.
func startOn(t *testing.T, on stores, more ...areas) *server {
	t.Helper()
	s := &server{t: t, stores: on, more: more}
	log := zaptest.NewLogger(t, zaptest.Level(zapcore.WarnLevel))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	s.db, err = store.OpenSQL(store.SQLOptions{Driver: store.Driver(on.sql.Driver), DSN: on.sql.DSN, Timeout: time.Minute, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if on.redis != "" {
		if s.redis, err = store.OpenRedis(store.RedisOptions{URL: on.redis, PoolSize: 8, Timeout: time.Minute, Log: log}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := schema.Up(ctx, s.db, log); err != nil {
		t.Fatal(err)
	}
	s.group = commit.New(commit.Options{DB: s.db, Timeout: time.Minute, Log: log})
	s.boards = boards.New(boards.Options{Boards: []boards.Board{{Name: "main"}, {Name: "lap", Lowest: true}}, DB: s.db, Redis: s.redis, Log: log})
	if err := s.boards.Load(ctx, nil); err != nil {
		t.Fatal(err)
	}
	s.Server = rpctest.New(t, func(r *rpctest.Server) []rpc.Method { return s.build(r) })
	t.Cleanup(s.stop)
	return s
}

func (s *server) build(r *rpctest.Server) []rpc.Method {
	s.players = players.New(players.Options{
		DB: s.db, Group: s.group, Loops: []players.Loop{r.Loop()}, HomeOf: func(uint64) int { return 0 },
		New: func(uid uint64, now time.Time) (game.Player, []game.Mail) {
			return game.NewPlayer(uid, 100, now), nil
		},
		Arrived: mail.Arrived(r.Peers),
		Timeout: 2 * time.Second, Linger: linger, MaxLingering: 1000, MaxLingeringBytes: 1 << 30,
		Log: zaptest.NewLogger(s.t, zaptest.Level(zapcore.WarnLevel)), Clock: r.Now,
	})
	r.Bound, r.Unbound = s.players.Online, s.players.Offline
	shop, err := game.ParseShop([]string{"sword:30", "potion:7"})
	if err != nil {
		s.t.Fatal(err)
	}
	parts := &handlers.Parts{
		Peers: r.Peers, Rooms: r.Rooms, Registry: r.Registry, Verifier: auth.Dev{},
		Players: s.players, Boards: s.boards, SQL: s.db, Redis: s.redis, Shop: func() *game.Shop { return shop },
		Auth: func() authHandlers.Options { return authHandlers.Options{Heartbeat: 30 * time.Second} },
		Duel: func() duel.Options { return duel.Options{Timeout: 10 * time.Second} },
		Room: func() room.Options { return room.Options{MaxTextBytes: 10} },
	}
	methods := handlers.Methods(parts)
	for _, area := range s.more {
		methods = append(methods, area(parts)...)
	}
	return methods
}

// stop ends the server in order.
func (s *server) stop() {
	if s.ended {
		return
	}
	s.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	closing := []func(context.Context) error{s.group.Close, s.players.Close, s.boards.Close, s.db.Close}
	if s.redis != nil {
		closing = append(closing, s.redis.Close)
	}
	for _, end := range closing {
		if err := end(ctx); err != nil {
			s.t.Error(err)
		}
	}
}

// restart ends the server and returns one that has only what was stored, at a
// time that lies d after that of s.
func (s *server) restart(d time.Duration) *server {
	s.t.Helper()
	s.stop()
	again := startOn(s.t, s.stores, s.more...)
	again.Advance(s.Now().Sub(again.Now()) + d)
	return again
}

// login connects a player.
func login(t *testing.T, s *server, uid uint64) *rpctest.Client {
	t.Helper()
	c := s.Connect()
	c.Must(nil, "auth.login", "dev:"+strconv.FormatUint(uid, 10))
	return c
}

// wait returns what f resolves to.
func wait[T any](s *server, f *future.Future[T]) T {
	s.t.Helper()
	s.Wait("a future", f.Done)
	v, err, _ := f.Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// mailTime is how long mails from send are there.
const mailTime = 10 * time.Minute

// send puts a mail with gold and items into a player's box.
func (s *server) send(uid uint64, m game.Mail) {
	s.t.Helper()
	m.SentMS, m.ExpiresMS = s.Now().UnixMilli(), s.Now().Add(mailTime).UnixMilli()
	if !wait(s, s.players.SendMail(uid, m, "test:"+strconv.FormatInt(m.ID, 10))) {
		s.t.Errorf("mail %d was sent before", m.ID)
	}
}

// fails holds that a call fails with a code and a message that has the words.
func fails(t *testing.T, c *rpctest.Client, code wire.Code, words, method string, params ...any) {
	t.Helper()
	raw, err := c.Call(method, params...)
	wantError(t, raw, err, code, words)
}

func wantError(t *testing.T, raw rpc.Raw, err *rpc.Error, code wire.Code, words string) {
	t.Helper()
	if err == nil {
		t.Errorf("got the result %x, want %s: ... %s ...", raw, code, words)
	} else if err.Code != code || !strings.Contains(err.Message, words) {
		t.Errorf("got the error %q, want %s: ... %s ...", err, code, words)
	}
}

// received holds that a client got these messages since the last time.
func received(t *testing.T, c *rpctest.Client, want ...string) {
	t.Helper()
	var got []string
	for _, m := range c.Received() {
		got = append(got, m.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

// stored is how many changes were committed.
func (s *server) stored() int64 { return s.group.Stats().Changes }

// everything is all that the tables have of the game, by table: what a refused
// call leaves as it was.
func (s *server) everything() map[string]any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := make(map[string]any)
	for table, query := range map[string]string{
		"players": `SELECT * FROM players ORDER BY uid`,
		"names":   `SELECT * FROM names ORDER BY name_key`,
		"saves":   `SELECT * FROM saves ORDER BY uid, save_key`,
		"mail":    `SELECT * FROM mail ORDER BY uid, id`,
		"claims":  `SELECT * FROM claims ORDER BY uid, id`,
		"ranks":   `SELECT * FROM ranks ORDER BY uid, board`,
	} {
		rows, err := s.db.FetchAllContext(ctx, query)
		if err != nil {
			s.t.Fatal(err)
		}
		all[table] = rows
	}
	return all
}
