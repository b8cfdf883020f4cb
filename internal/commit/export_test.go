package commit

import "gameserverd/internal/store"

// What the tests break.
type (
	Session   = session
	Statement = statement
)

// NewAround is New with something around every session.
func NewAround(o Options, around func(Session) Session) *Group { return start(o, around) }

// Text is the statement's.
func (s *statement) Text() string { return s.text }

// Writer is the key of the Group's row in writers.
func (g *Group) Writer() int64 { return g.writer }

// The texts, in MySQL's words, of statements for so many rows.
func DeleteText(t *Table, rows int) string { return mysqlDialect().statement(deleteRows, t, rows).text }
func FenceText(rows int) string            { return mysqlDialect().statement(fenceRows, nil, rows).text }
func TakeText(rows int) string             { return mysqlDialect().statement(takeRows, nil, rows).text }

func mysqlDialect() *dialect { return newDialect(store.MySQL, 512) }
