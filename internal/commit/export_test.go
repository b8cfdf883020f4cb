package commit

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
