package store

import (
	"context"
	"database/sql"
	"sync"
)

// The bounds of preparedQueries. Servers keep prepared statements for each connection, so neither many nor long ones are worth it.
const (
	maxPrepared      = 256
	maxPreparedBytes = 2000
)

// preparedQueries keeps the statements of a pool prepared, which spares MySQL a round trip and SQLite the parsing. The first so many
// texts are kept for good: they are the program's constants.
type preparedQueries struct {
	db *sql.DB // immutable

	// any goroutine
	mu     sync.RWMutex // guards what follows
	byText map[string]*sql.Stmt
}

func prepareQueries(db *sql.DB) *preparedQueries {
	return &preparedQueries{db: db, byText: make(map[string]*sql.Stmt)}
}

// stmt returns the query prepared; nil: it is to be run as it is.
func (p *preparedQueries) stmt(ctx context.Context, query string, args []any) (*sql.Stmt, error) {
	p.mu.RLock()
	st, full := p.byText[query], len(p.byText) >= maxPrepared
	p.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	if full || len(args) == 0 || len(query) > maxPreparedBytes { // without arguments MySQL has one round trip anyway
		return nil, nil
	}
	st, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other := p.byText[query]; other != nil {
		st.Close() // its connections end with the pool, so nothing depends on the error
		return other, nil
	}
	p.byText[query] = st
	return st, nil
}

func (p *preparedQueries) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	st, err := p.stmt(ctx, query, args)
	switch {
	case err != nil:
		return nil, err
	case st == nil:
		return p.db.ExecContext(ctx, query, args...)
	default:
		return st.ExecContext(ctx, args...)
	}
}

func (p *preparedQueries) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	st, err := p.stmt(ctx, query, args)
	switch {
	case err != nil:
		return nil, err
	case st == nil:
		return p.db.QueryContext(ctx, query, args...)
	default:
		return st.QueryContext(ctx, args...)
	}
}
