package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/boards"
	"gameserverd/internal/commit"
	"gameserverd/internal/config"
	"gameserverd/internal/game"
	"gameserverd/internal/players"
	"gameserverd/internal/store"
	"gameserverd/internal/store/embedded"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/tasks"
	"gameserverd/wire"
)

// stores is where the daemon's state is, and what stands between it and the
// handlers.
type stores struct {
	// immutable after openStores
	log      *zap.Logger
	cfg      *config.Config
	unlock   func() error
	sql      *store.SQL
	sqlUp    *store.Health
	redis    *store.Redis
	redisUp  *store.Health
	embedded *embedded.Server // nil: a server somewhere else
	group    *commit.Group
	players  *players.Players
	boards   *boards.Boards

	worker bool // runs tasks only
	closed bool // only Run and New touch it
	inUse  bool // Redis, until the process ends: closing it would crash who uses it; likewise

	watching sync.WaitGroup
	unwatch  context.CancelFunc // nil: nobody watches

	atStart struct{ sql, redis firstWord } // any goroutine
}

// openStores makes everything and connects to nothing; prepare does.
func (s *Server) openStores() (err error) {
	st := &stores{log: s.log, cfg: s.cfg, worker: s.o.Worker}
	s.stores = st
	if err := os.MkdirAll(s.cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("server: data_dir: %w", err)
	}
	if st.unlock, err = s.lockData(); err != nil {
		return err
	}
	if err := st.openSQL(); err != nil {
		return err
	}
	if err := st.openRedis(); err != nil {
		return err
	}
	index := st.redis
	if s.cfg.Game.BoardsIndex == "memory" {
		index = nil
	}
	var list []boards.Board
	for _, text := range s.cfg.Game.Boards {
		b, err := boards.ParseBoard(text)
		if err != nil {
			return fmt.Errorf("server: game.boards: %w", err)
		}
		list = append(list, b)
	}
	st.boards = boards.New(boards.Options{Boards: list, DB: st.sql, Redis: index, Log: s.log, Timeout: s.cfg.Store.Timeout})
	return nil
}

func (st *stores) openSQL() (err error) {
	cfg := st.cfg.Store
	st.sqlUp = store.NewHealth("sql", st.log, time.Now)
	st.sql, err = store.OpenSQL(store.SQLOptions{
		Driver: store.Driver(cfg.SQL.Driver), DSN: st.cfg.SQLDSN(),
		MaxOpen: cfg.SQL.MaxOpen, MaxIdle: cfg.SQL.MaxIdle, MaxLifetime: cfg.SQL.MaxLifetime,
		Queue: cfg.Queue, Timeout: cfg.Timeout, Log: st.log, Health: st.sqlUp,
	})
	if err != nil {
		return err
	}
	st.group = commit.New(commit.Options{
		DB: st.sql, BatchRows: cfg.CommitBatch, Queue: cfg.Queue, Timeout: cfg.Timeout, Log: st.log, Health: st.sqlUp, Clock: time.Now,
	})
	return nil
}

func (st *stores) openRedis() (err error) {
	cfg := st.cfg.Store
	st.redisUp = store.NewHealth("redis", st.log, time.Now)
	o := store.RedisOptions{
		URL: cfg.Redis.URL, PoolSize: cfg.Redis.PoolSize, Timeout: cfg.Timeout, Queue: cfg.Queue, Log: st.log, Health: st.redisUp,
	}
	if cfg.Redis.URL == embeddedURL {
		if st.embedded, err = embedded.Start(embedded.Options{Clock: time.Now, Log: st.log}); err != nil {
			return err
		}
		o.Dial = func(ctx context.Context) (net.Conn, error) { return st.embedded.Dial(ctx) }
	}
	st.redis, err = store.OpenRedis(o)
	return err
}

const embeddedURL = "embedded"

// makePlayers joins the players' states to the loops and sessions.
func (s *Server) makePlayers(arrived func(uint64, game.Mail)) {
	loops := make([]players.Loop, len(s.loops))
	for i, l := range s.loops {
		loops[i] = hubLoop{l}
	}
	cfg := s.cfg
	s.stores.players = players.New(players.Options{
		DB: s.stores.sql, Group: s.stores.group, Loops: loops, HomeOf: func(uid uint64) int { return s.peers.HomeOf(uid) },
		New: func(uid uint64, now time.Time) (game.Player, []game.Mail) {
			g := s.config().Game
			return game.NewPlayer(uid, g.StartGold, now), welcome(g, now)
		},
		Arrived: arrived,
		Lost: func(uid uint64) {
			s.peers.Kick(uid, wire.Closing{Code: wire.Replaced, Message: "the player has logged in on another server"})
		},
		Timeout: cfg.Store.Timeout, Linger: cfg.Store.PlayerLinger,
		MaxLingering: cfg.Store.LingerPlayers, MaxLingeringBytes: cfg.Store.LingerBytes, Log: s.log, Clock: time.Now,
	})
}

// welcome is the mail that a new player finds, if there is to be one.
func welcome(g config.Game, now time.Time) []game.Mail {
	if g.WelcomeGold == 0 {
		return nil
	}
	return []game.Mail{{
		Title: "Welcome!", Gold: g.WelcomeGold,
		SentMS: now.UnixMilli(), ExpiresMS: now.Add(g.MailTTL).UnixMilli(),
	}}
}

// prepare waits for the stores, brings the tables up to date and loads what has
// to be in memory before anybody is served.
func (st *stores) prepare(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, st.cfg.Store.StartTimeout)
	defer cancel()
	if err := st.await(limited, "sql", st.sql.Ping, &st.atStart.sql); err != nil {
		return err
	}
	if err := st.await(limited, "redis", st.redis.Ping, &st.atStart.redis); err != nil {
		return err
	}
	st.watch()
	ctx, stop := st.giveUpWhenAway(ctx)
	defer stop()
	if err := st.fill(ctx); err != nil {
		if away := context.Cause(ctx); errors.Is(away, errAwayTooLong) {
			return away
		}
		return err
	}
	return nil
}

// fill brings the tables up to date and loads the boards. It takes as long as it
// takes, with a line now and then, while the store answers.
func (st *stores) fill(ctx context.Context) error {
	applied, err := schema.Up(ctx, st.sql, st.log)
	if err != nil {
		return err
	}
	if len(applied) > 0 {
		st.log.Info("tables brought up to date", zap.Strings("migrations", applied))
	}
	if st.worker {
		return nil
	}
	began := time.Now()
	total := int64(0)
	err = st.boards.Load(ctx, func(rows, of int64) {
		total = of
		if rows < of {
			st.log.Info("loading boards", zap.Int64("rows", rows), zap.Int64("of", of))
		}
	})
	if err != nil {
		return fmt.Errorf("server: boards: %w", err)
	}
	st.log.Info("boards loaded", zap.Int64("rows", total), zap.Duration("took", time.Since(began)))
	return nil
}

var errAwayTooLong = errors.New("does not answer")

// giveUpWhenAway returns a context that ends, with errAwayTooLong as its cause,
// when the database has not answered for store.start_timeout: nothing else ends
// a statement of the start that has no time limit of its own.
func (st *stores) giveUpWhenAway(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	st.watching.Go(func() {
		look := time.NewTicker(awaitStep)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			if up, why, since := st.sqlUp.State(); !up && time.Since(since) > st.cfg.Store.StartTimeout {
				cancel(fmt.Errorf("server: store sql %w within store.start_timeout (%v): %s", errAwayTooLong, st.cfg.Store.StartTimeout, why))
				return
			}
		}
	})
	return ctx, func() { cancel(nil) }
}

// awaitStep is how often a store that does not answer is tried at the start.
const awaitStep = 250 * time.Millisecond

// firstWord is what is known of a store at the start, when one is asked after the
// other and its Health has heard of nothing yet. Any goroutine.
type firstWord struct{ asked, answered atomic.Bool }

// await waits until a store answers, and notes in first what has come of it.
func (st *stores) await(ctx context.Context, name string, ping func(context.Context) error, first *firstWord) error {
	waiting := false
	for {
		err := ping(ctx)
		first.answered.Store(err == nil)
		first.asked.Store(true)
		switch {
		case err == nil:
			return nil
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return fmt.Errorf("server: store %s did not answer within store.start_timeout (%v): %w", name, st.cfg.Store.StartTimeout, err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if !waiting {
			waiting = true
			st.log.Warn("waiting for a store", zap.String("store", name), zap.Duration("give_up_after", st.cfg.Store.StartTimeout), zap.Error(err))
		}
		again := time.NewTimer(awaitStep)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
		}
	}
}

// watchStep is how often a store that nobody asks is looked after.
const watchStep = time.Second

// watch looks after the stores, so that Ready tells the truth without traffic.
func (st *stores) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	st.unwatch = cancel
	st.watching.Go(func() { st.sqlUp.Watch(ctx, watchStep, st.sql.Ping) })
	if st.embedded == nil {
		st.watching.Go(func() { st.redisUp.Watch(ctx, watchStep, st.redis.Ping) })
	}
	st.watching.Go(func() { st.purge(ctx) })
}

const (
	purgeEvery = time.Hour
	// purgeAfter is how long expired mail is kept: clocks of several daemons differ,
	// and whoever looks into what went wrong yesterday still finds it.
	purgeAfter = 24 * time.Hour
)

// purge deletes expired mail now and then.
func (st *stores) purge(ctx context.Context) {
	every := time.NewTicker(purgeEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		deleted, err := st.players.Purge(ctx, time.Now().Add(-purgeAfter).UnixMilli())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			st.log.Warn("expired mail was not deleted; it is tried again in an hour", zap.Error(err))
		case deleted > 0:
			st.log.Info("expired mail deleted", zap.Int("mails", deleted))
		}
	}
}

// ready reports whether the stores that methods need can be reached.
func (st *stores) ready() (ok bool, reason string) {
	if up, why, since := st.sqlUp.State(); !up {
		return false, fmt.Sprintf("store sql is away since %s: %s", since.UTC().Format(time.RFC3339), why)
	}
	if up, why, since := st.redisUp.State(); !up && st.needsRedis() {
		return false, fmt.Sprintf("store redis is away since %s: %s", since.UTC().Format(time.RFC3339), why)
	}
	return true, ""
}

// needsRedis reports whether anything of the game needs Redis to answer, or this is a
// worker, whom Redis brings its work.
func (st *stores) needsRedis() bool { return st.worker || st.cfg.Game.BoardsIndex == "redis" }

// closeTime is how long the stores may take to close when the drain's deadline
// has passed: long enough to answer, not to wait for a store that is away.
const closeTime = 500 * time.Millisecond

// closeStores closes the stores, once. What waits for a commit is committed while
// ctx lasts, and closeTime at least.
func (s *Server) closeStores(ctx context.Context) {
	if s.stores == nil || s.stores.closed {
		return
	}
	s.stores.closed = true
	until := time.Now().Add(closeTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.After(until) {
		until = deadline
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	if s.tasks != nil {
		if err := s.tasks.Close(ctx); err != nil {
			s.log.Warn("tasks did not end in time", zap.Error(err))
			s.stores.inUse = errors.Is(err, tasks.ErrCarrier)
		}
	}
	if err := s.stores.close(ctx); err != nil {
		s.log.Error("stores did not close cleanly", zap.Error(err))
	}
}

// close ends what openStores made, those that write first. Some of it may be
// missing.
func (st *stores) close(ctx context.Context) error {
	if st.unwatch != nil {
		st.unwatch()
	}
	st.watching.Wait()
	var errs []error
	if st.group != nil {
		errs = append(errs, st.group.Close(ctx))
	}
	if st.players != nil {
		errs = append(errs, st.players.Close(ctx))
	}
	if st.boards != nil {
		errs = append(errs, st.boards.Close(ctx))
	}
	if st.redis != nil && !st.inUse {
		errs = append(errs, st.redis.Close(ctx))
	}
	if st.embedded != nil && !st.inUse {
		st.embedded.Close()
	}
	if st.sql != nil {
		errs = append(errs, st.sql.Close(ctx))
	}
	if st.unlock != nil {
		errs = append(errs, st.unlock())
	}
	return errors.Join(errs...)
}
