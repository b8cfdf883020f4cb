package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gameserverd/internal/ctl"
	"gameserverd/wire"
)

// Session is a ctl.Session for scripts: their numbers have 53 bits.
type Session struct {
	ctl.Session
	UID  uint64 `json:"uid,string"`
	Conn uint64 `json:"conn,string"`
}

// NewSession is s. Any goroutine.
func NewSession(s ctl.Session) Session { return Session{s, s.UID, s.Conn} }

// Player is one who is online, in detail.
type Player struct {
	Session
	RoomNames []string     `json:"room_names"` // the first 100
	Calls     []PlayerCall `json:"calls"`      // under way, the first 100
	Asked     int          `json:"asked"`      // the server's calls that the client has not answered
	Last      []LastCall   `json:"last"`       // newest first: the last 16 that have failed or for which the client has waited SlowMS or more
	SlowMS    int64        `json:"slow_ms"`
	AllSince  *time.Time   `json:"all_since,omitempty"` // from then on Last has the last 16 of the others too; nil: not kept
}

// LastCall is a call that has ended.
type LastCall struct {
	Method   string    `json:"method"`         // "": one that there is not
	Code     string    `json:"code,omitempty"` // of its error
	At       time.Time `json:"at"`             // when it ended
	WaitedMS float64   `json:"waited_ms"`      // before it began
	TookMS   float64   `json:"took_ms"`        // from then on
	Trace    string    `json:"trace,omitempty"`
}

// PlayerCall is a call that has begun and not ended.
type PlayerCall struct {
	Method string `json:"method"`
	AgeMS  int64  `json:"age_ms"`
}

// maxPlayers bounds one page of the list.
const maxPlayers = 200

// players answers GET /console/players?sort=waiting&offset=0&limit=50&find=TEXT: who
// is connected. TEXT is how a uid or an address begins, or a connection: 7 or conn 7.
func (c *Console) players(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	sort, find := q.Get("sort"), strings.TrimSpace(q.Get("find"))
	if sort == "" {
		sort = ctl.Orders[0]
	}
	offset, err1 := strconv.Atoi(q.Get("offset"))
	limit, err2 := strconv.Atoi(q.Get("limit"))
	if !slices.Contains(ctl.Orders, sort) || err1 != nil || err2 != nil || offset < 0 || limit < 1 || limit > maxPlayers {
		fail(w, http.StatusBadRequest, "invalid_argument",
			fmt.Sprintf("sort is one of %s, offset from 0, limit from 1 to %d", strings.Join(ctl.Orders, ", "), maxPlayers))
		return
	}
	select {
	case c.looking <- struct{}{}:
		defer func() { <-c.looking }()
	case <-r.Context().Done():
		return
	case <-c.ending:
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	all, err := ctl.ListSessions(ctx, c.o.Daemon, sort, sort == "rate", c.ending)
	if err != nil {
		failed(w, err)
		return
	}
	if find != "" {
		all = slices.DeleteFunc(all, func(s ctl.Session) bool {
			return !fits(&s, find)
		})
	}
	first := min(offset, len(all))
	list := playerList{Total: len(all), Sessions: []Session{}}
	for _, s := range all[first:min(first+limit, len(all))] {
		list.Sessions = append(list.Sessions, NewSession(s))
	}
	answer(w, list)
}

// fits tells whether a session is one that find may mean. How a connection's number
// begins means nothing.
func fits(s *ctl.Session, find string) bool {
	conn := strconv.FormatUint(s.Conn, 10)
	return strings.HasPrefix(strconv.FormatUint(s.UID, 10), find) || strings.HasPrefix(s.Peer, find) || strings.TrimPrefix(find, "conn ") == conn
}

// playerList is the answer of /console/players.
type playerList struct {
	Total    int       `json:"total"` // that fit, of which Sessions are a page
	Sessions []Session `json:"sessions"`
}

// uidOf reads the parameter uid; if it is none, it has answered.
func uidOf(w http.ResponseWriter, r *http.Request) (uid uint64, ok bool) {
	uid, err := strconv.ParseUint(r.URL.Query().Get("uid"), 10, 64)
	if err != nil || uid == 0 {
		fail(w, http.StatusBadRequest, "invalid_argument", "uid must be a player's number, from 1")
		return 0, false
	}
	return uid, true
}

func (c *Console) player(w http.ResponseWriter, r *http.Request) {
	uid, ok := uidOf(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	p, online, err := c.o.Player(ctx, uid)
	switch {
	case err != nil:
		failed(w, err)
	case !online:
		fail(w, http.StatusNotFound, "not_found", fmt.Sprintf("player %d is not online here", uid))
	default:
		answer(w, p)
	}
}

// kickOrder is what /console/kick takes.
type kickOrder struct {
	UID       uint64 `json:"uid,string"`
	Message   string `json:"message"` // "": one that says nothing
	Reconnect bool   `json:"reconnect"`
}

// maxText bounds what an operator tells a player, in bytes.
const maxText = 1024

func badText(uid uint64, text string) string {
	switch {
	case uid == 0:
		return "uid must be a player's number, from 1"
	case len(text) > maxText || !utf8.ValidString(text):
		return fmt.Sprintf("the text must be UTF-8 of %d bytes at most", maxText)
	}
	return ""
}

func (c *Console) kick(w http.ResponseWriter, r *http.Request) {
	var k kickOrder
	if !read(w, r, &k) {
		return
	}
	if problem := badText(k.UID, k.Message); problem != "" {
		fail(w, http.StatusBadRequest, "invalid_argument", problem)
		return
	}
	why := wire.Closing{Code: wire.Kicked, Message: k.Message, Reconnect: k.Reconnect}
	if k.Message == "" {
		why.Message = "an operator has ended the session"
	}
	online := false
	err := c.audited(w, r, entry{Action: "kick", UID: k.UID, Text: k.Message}, func(ctx context.Context) (string, error) {
		var err error
		online, err = c.o.Daemon.Kick(ctx, k.UID, why)
		return map[bool]string{true: "kicked", false: "was not online"}[online], err
	})
	if err == nil {
		answer(w, ctl.Kicked{Kicked: online})
	}
}

// messageOrder is what /console/message takes.
type messageOrder struct {
	UID  uint64 `json:"uid,string"`
	Text string `json:"text"`
}

// message sends the notification sys.notice(text) to one player.
func (c *Console) message(w http.ResponseWriter, r *http.Request) {
	var m messageOrder
	if !read(w, r, &m) {
		return
	}
	problem := badText(m.UID, m.Text)
	if strings.TrimSpace(m.Text) == "" && problem == "" {
		problem = "the text is empty"
	}
	if problem != "" {
		fail(w, http.StatusBadRequest, "invalid_argument", problem)
		return
	}
	online := false
	err := c.audited(w, r, entry{Action: "message", UID: m.UID, Text: m.Text}, func(ctx context.Context) (string, error) {
		var err error
		if _, online, err = c.o.Player(ctx, m.UID); err != nil || !online {
			return "was not online", err
		}
		return "sent", c.o.Message(m.UID, m.Text)
	})
	if err == nil {
		answer(w, struct {
			Sent bool `json:"sent"`
		}{online})
	}
}

// traceBuffer is how many messages wait to be sent; more are counted and left out.
const traceBuffer = 512

// traced has its body as text: numbers of scripts have 53 bits.
type traced struct {
	ctl.Traced
	Body string `json:"body,omitempty"`
}

// trace is the stream of a player's messages, until the page closes it.
func (c *Console) trace(w http.ResponseWriter, r *http.Request) {
	uid, ok := uidOf(w, r)
	if !ok {
		return
	}
	var trace ctl.Trace
	err := c.audited(w, r, entry{Action: "trace", UID: uid}, func(context.Context) (_ string, err error) {
		trace, err = c.o.Daemon.Buffer(uid, traceBuffer)
		return "begun", err
	})
	if err != nil {
		return
	}
	who, out := sessionOf(r), begin(w)
	if out.raw("begun", []byte("{}")) != nil {
		trace.Stop()
		return
	}
	last, ok := trace.Follow(r.Context(), ctl.Follow{
		For: ctl.MaxTrace, Ending: c.ending, Every: liveEvery,
		Show: func(one ctl.Traced) error { return out.send("message", traced{one, string(one.Body)}) },
		Beat: func(dropped int) (string, error) { // shows if the browser is there still
			if !c.stays(r, who) {
				return "signed out", nil
			}
			return "", out.send("beat", dropped)
		},
	})
	if ok {
		_ = out.send("end", last) // the browser may be gone
	}
}
