package players

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

// loader reads states from SQL: all that wait together, on a few goroutines that
// are there while there is something to read. Any goroutine.
type loader struct {
	db      *store.SQL
	timeout time.Duration
	clock   func() time.Time

	mu      sync.Mutex // guards what follows
	waiting []request
	running int
	closed  bool
	quiet   chan struct{} // closed when nothing runs; nil: nobody waits for that
}

type request struct {
	uid   uint64
	until time.Time
	done  *future.Future[*State]
}

const (
	readers    = 4       // goroutines at most
	maxRead    = 32      // players whom one reads at once; their saves can be megabytes each
	maxWaiting = 100_000 // players who wait to be read
	readAgain  = 50 * time.Millisecond
)

func newLoader(db *store.SQL, timeout time.Duration, clock func() time.Time) *loader {
	return &loader{db: db, timeout: timeout, clock: clock}
}

// read resolves to the state of uid, nil if there is no such player.
func (l *loader) read(uid uint64) *future.Future[*State] {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return future.Failed[*State](wire.Errorf(wire.Unavailable, "the server is shutting down"))
	case len(l.waiting) >= maxWaiting:
		return future.Failed[*State](&wire.Error{Code: wire.ResourceExhausted, RetryAfter: retryAfter,
			Message: "too many players are being loaded"})
	}
	// Not by l.clock: it becomes a context's deadline, which knows only real time.
	r := request{uid: uid, until: time.Now().Add(l.timeout), done: future.New[*State]()}
	l.waiting = append(l.waiting, r)
	if l.running < readers {
		l.running++
		go l.run()
	}
	return r.done
}

func (l *loader) run() {
	for {
		batch := l.next()
		if batch == nil {
			return
		}
		l.answer(batch)
	}
}

// next takes those who wait, nil when nobody does: then the goroutine ends.
func (l *loader) next() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > 0 {
		n := min(maxRead, len(l.waiting))
		batch := slices.Clone(l.waiting[:n])
		l.waiting = slices.Delete(l.waiting, 0, n)
		return batch
	}
	l.waiting = nil
	l.running--
	if l.running == 0 && l.quiet != nil {
		close(l.quiet)
		l.quiet = nil
	}
	return nil
}

// answer reads a batch and tells each; as long as the time of the last allows, a
// store that went away is tried again. The callers of the others are answered in
// time by their shards.
func (l *loader) answer(batch []request) {
	ctx, cancel := context.WithDeadline(context.Background(), batch[len(batch)-1].until)
	defer cancel()
	for {
		states, err := l.states(ctx, batch)
		if err != nil && store.IsLost(err) {
			if l.pause(ctx) {
				continue
			}
			err = readError(err)
		} else if err != nil && len(batch) > 1 && ctx.Err() == nil {
			for _, r := range batch { // one of them has what cannot be read; the others need not suffer for it
				l.answer([]request{r})
			}
			return
		}
		for _, r := range batch {
			if err != nil {
				r.done.Fail(err)
				continue
			}
			r.done.Resolve(states[r.uid])
		}
		return
	}
}

// mail resolves to the mails of uid that have not expired.
func (l *loader) mail(uid uint64) *future.Future[[]game.Mail] {
	query, args := selectMail.form([]request{{uid: uid}})
	found := l.db.FetchAll(query, append(args, l.clock().UnixMilli())...)
	mails := future.Map(found, inline{}, func(rows []store.Row) ([]game.Mail, error) {
		s := &State{}
		for _, row := range rows {
			if err := scanMail(map[uint64]*State{uid: s}, row); err != nil {
				return nil, err
			}
		}
		return s.Mail, nil
	})
	return future.Catch(mails, inline{}, readError)
}

// readError is what callers are told when something could not be read. A store
// that does not answer says that it does not know what it has done, but nothing
// of reading is worth knowing.
func readError(err error) error {
	if store.IsLost(err) {
		return errUnavailable("the store does not answer; nothing was changed")
	}
	return err
}

// pause waits a little before the next try; false if there is no time for one.
func (l *loader) pause(ctx context.Context) bool {
	again := time.NewTimer(readAgain)
	defer again.Stop()
	select {
	case <-again.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *loader) close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	if l.running == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.quiet == nil {
		l.quiet = make(chan struct{})
	}
	quiet := l.quiet
	l.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// uidList are the forms of "(?,?,...)" that are used: few, so that a server keeps
// few statements.
var uidLists = []int{1, 8, maxRead}

// statement is a text for each length of uidLists.
type statement []string

func statementFor(text string) statement {
	var forms statement
	for _, n := range uidLists {
		forms = append(forms, strings.Replace(text, "(uids)", "("+strings.Repeat("?,", n-1)+"?)", 1))
	}
	return forms
}

// The statements that read the players uids, each by the beginning of its
// table's primary key, which is the uid.
var (
	// One row for each player that there is.
	selectPlayers = statementFor(`SELECT uid, name, level, gold, items, created_ms FROM players WHERE uid IN (uids)`)
	// All their saves.
	selectSaves = statementFor(`SELECT uid, save_key, value, version, updated_ms FROM saves WHERE uid IN (uids)`)
	// All their mails that have not expired by a time, with when they were claimed; claims by its primary key.
	selectMail = statementFor(`SELECT m.uid, m.id, m.title, m.gold, m.items, m.sent_ms, m.expires_ms, COALESCE(c.claimed_ms, 0)
		FROM mail m LEFT JOIN claims c ON c.uid = m.uid AND c.id = m.id WHERE m.uid IN (uids) AND m.expires_ms > ?`)
	// Their best scores.
	selectBests = statementFor(`SELECT uid, board, score, came FROM ranks WHERE uid IN (uids)`)
)

// form is the statement for these uids, with its arguments: the last uid fills
// what is left over.
func (s statement) form(batch []request) (string, []any) {
	i := 0
	for uidLists[i] < len(batch) {
		i++
	}
	args := make([]any, 0, uidLists[i]+1)
	for n := range uidLists[i] {
		args = append(args, int64(batch[min(n, len(batch)-1)].uid))
	}
	return s[i], args
}

// states reads the players of a batch.
func (l *loader) states(ctx context.Context, batch []request) (map[uint64]*State, error) {
	states := make(map[uint64]*State, len(batch))
	query, args := selectPlayers.form(batch)
	err := l.db.Each(ctx, query, args, func(row store.Row) error { return scanPlayer(states, row) })
	if err != nil || len(states) == 0 {
		return states, err
	}
	now := l.clock().UnixMilli()
	for _, part := range []struct {
		statement
		more []any
		scan func(map[uint64]*State, store.Row) error
	}{{selectSaves, nil, scanSave}, {selectMail, []any{now}, scanMail}, {selectBests, nil, scanBest}} {
		query, args := part.form(batch)
		err := l.db.Each(ctx, query, append(args, part.more...), func(row store.Row) error { return part.scan(states, row) })
		if err != nil {
			return nil, err
		}
	}
	for _, s := range states {
		slices.SortFunc(s.Mail, compareMail)
	}
	return states, nil
}

func scanPlayer(states map[uint64]*State, row store.Row) error {
	var p game.Player
	var items []byte
	var created int64
	uid, err := scanUID(row, &p.Name, &p.Level, &p.Gold, &items, &created)
	if err != nil {
		return err
	}
	p.UID, p.Created = uid, time.UnixMilli(created)
	p.Items, err = decodeItems(items)
	states[uid] = &State{Player: p}
	return err
}

func scanSave(states map[uint64]*State, row store.Row) error {
	var key string
	var save game.Save
	uid, err := scanUID(row, &key, &save.Value, &save.Version, &save.UpdatedMS)
	s := states[uid]
	if err != nil || s == nil { // or made since: its own load will see it
		return err
	}
	if s.Saves == nil {
		s.Saves = make(map[string]game.Save)
	}
	s.Saves[key] = save
	return nil
}

func scanMail(states map[uint64]*State, row store.Row) error {
	var m game.Mail
	var items []byte
	uid, err := scanUID(row, &m.ID, &m.Title, &m.Gold, &items, &m.SentMS, &m.ExpiresMS, &m.ClaimedMS)
	s := states[uid]
	if err != nil || s == nil {
		return err
	}
	m.Items, err = decodeItems(items)
	s.Mail = append(s.Mail, m)
	return err
}

func scanBest(states map[uint64]*State, row store.Row) error {
	var board string
	var b game.Best
	uid, err := scanUID(row, &board, &b.Score, &b.Came)
	s := states[uid]
	if err != nil || s == nil {
		return err
	}
	if s.Bests == nil {
		s.Bests = make(map[string]game.Best)
	}
	s.Bests[board] = b
	return nil
}
