package commit

import (
	"context"

	"gameserverd/internal/store"
)

// session is one connection to the store, for the runner alone. It stands between it and store.Conn so that tests can break it at
// every point.
type session interface {
	Begin(ctx context.Context) error
	Commit(ctx context.Context) error // an error says nothing about the outcome
	Rollback(ctx context.Context) error
	Exec(ctx context.Context, s *statement, args ...any) error
	FetchAll(ctx context.Context, s *statement, args ...any) ([]store.Row, error)
	Discard() // closes the connection, whatever it was doing
}

// prepared is a session on a store.Conn that prepares each statement once.
type prepared struct {
	conn       *store.Conn
	statements map[*statement]*store.Stmt
}

// maxPrepared bounds what a connection keeps in the server: at a thousand statements it starts over.
const maxPrepared = 1000

func (p *prepared) prepare(ctx context.Context, s *statement) (*store.Stmt, error) {
	if st := p.statements[s]; st != nil {
		return st, nil
	}
	if len(p.statements) >= maxPrepared {
		for key, st := range p.statements {
			delete(p.statements, key)
			if err := st.Close(); err != nil {
				return nil, err
			}
		}
	}
	st, err := p.conn.Prepare(ctx, s.text)
	if err == nil {
		p.statements[s] = st
	}
	return st, err
}

func (p *prepared) Exec(ctx context.Context, s *statement, args ...any) error {
	if len(args) == 0 {
		_, err := p.conn.Exec(ctx, s.text)
		return err
	}
	st, err := p.prepare(ctx, s)
	if err != nil {
		return err
	}
	_, err = st.Exec(ctx, args...)
	return err
}

func (p *prepared) FetchAll(ctx context.Context, s *statement, args ...any) ([]store.Row, error) {
	st, err := p.prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	return st.FetchAll(ctx, args...)
}

func (p *prepared) Begin(ctx context.Context) error    { return p.conn.Begin(ctx) }
func (p *prepared) Commit(ctx context.Context) error   { return p.conn.Commit(ctx) }
func (p *prepared) Rollback(ctx context.Context) error { return p.conn.Rollback(ctx) }
func (p *prepared) Discard()                           { p.conn.Discard() }
