package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gameserverd/wire"
)

// errLeave is what a kind returns to end its connection itself.
var errLeave = errors.New("the attack has left")

// loginsPerConnection is how many logins go out in the time in which
// Options.Rate allows one new connection.
const loginsPerConnection = 4

// attack is one run. Its fields do not change once Run has made it.
type attack struct {
	o       Options
	network string
	target  string // the address that o.Addr had at the start
}

// raid is one scenario under way. Any goroutine.
type raid struct {
	*attack
	ctx    context.Context // ends with the scenario
	end    time.Time
	pace   *pacer // of connections
	logins *pacer

	open atomic.Int64 // connections open now

	mu      sync.Mutex
	ended   []Ended
	answers map[string]int
}

// pacer gives out points in time, rate a second. Any goroutine.
type pacer struct {
	start time.Time
	every time.Duration
	given atomic.Int64
}

func newPacer(rate int) *pacer {
	return &pacer{start: time.Now(), every: time.Second / time.Duration(rate)}
}

// wait waits for the next point in time; false: ctx has ended. Points that passed
// while everybody was busy are made up for.
func (p *pacer) wait(ctx context.Context) bool {
	at := p.start.Add(time.Duration(p.given.Add(1)) * p.every)
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// run plays kinds, in turn, on up to hands connections at once until the raid is over.
func (r *raid) run(kinds []kind, hands int) {
	var turn atomic.Int64
	var tasks sync.WaitGroup
	for range hands {
		tasks.Go(func() {
			for r.pace.wait(r.ctx) {
				r.one(kinds[int(turn.Add(1)-1)%len(kinds)])
			}
		})
	}
	tasks.Wait()
}

// one is a connection from its dial to its end.
func (r *raid) one(k kind) {
	c, err := r.dial(k)
	if err != nil && (r.ctx.Err() != nil || time.Until(r.end) < time.Millisecond) {
		return // over before it began; the dialer's clock may be ahead of the context's
	}
	if err != nil {
		r.count(Ended{Kind: k.name, How: ofError(err)})
		return
	}
	r.open.Add(1)
	defer r.open.Add(-1)
	r.talk(k, c)
}

func (r *raid) dial(k kind) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(r.ctx, r.network, r.target)
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // thousands of connections would leave thousands of ports waiting
		if k.deaf {
			_ = t.SetReadBuffer(4 << 10)
		}
	}
	_ = c.SetDeadline(r.end) // fails on a connection that is closed, and then all else does
	if r.o.TLS == nil || k.raw {
		return c, nil
	}
	s := tls.Client(c, r.o.TLS)
	if err := s.HandshakeContext(r.ctx); err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// talk lets a kind have the connection, and counts how it ended.
func (r *raid) talk(k kind, c net.Conn) {
	began := time.Now()
	defer c.Close()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	h := &hand{Conn: c, raid: r, ctx: ctx}
	var err error
	var took time.Duration
	if k.deaf {
		err = k.do(h)
		took = time.Since(began)
	} else {
		read := make(chan error, 1)
		go func() {
			err := h.listen()
			took = time.Since(began)
			cancel() // nobody sends any more either
			read <- err
		}()
		if err = k.do(h); errors.Is(err, errLeave) {
			c.Close()
			<-read
		} else {
			err = <-read // says more than a write that failed
		}
	}
	how := h.got.ending(err)
	if errors.Is(err, errLeave) {
		how = leftIt
	}
	r.count(Ended{Kind: k.name, How: how, After: took})
}

func (r *raid) count(e Ended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = append(r.ended, e)
}

func (r *raid) answered(code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[code]++
}

// hand is one connection of a raid. It belongs to the goroutine of one.
type hand struct {
	net.Conn
	raid *raid
	ctx  context.Context
	got  received // listen's until that has returned
}

func (h *hand) send(b []byte) error {
	_, err := h.Write(b)
	return err
}

// drip sends b a byte at a time, the first at once, and then waits.
func (h *hand) drip(b []byte) error {
	tick := time.NewTicker(dripTime)
	defer tick.Stop()
	for i := range b {
		if err := h.send(b[i : i+1]); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return nil
		}
	}
	return nil
}

// A flood sends a chunk, then waits: more would be a test of who gets the
// processors of the machine, on which the good client is as well.
const (
	floodChunk = 64 << 10
	floodTime  = 20 * time.Millisecond
)

// flood sends b again and again, until that fails or the raid is over.
func (h *hand) flood(b []byte) error {
	chunk := bytes.Repeat(b, max(1, floodChunk/len(b)))
	tick := time.NewTicker(floodTime)
	defer tick.Stop()
	for {
		if err := h.send(chunk); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return nil
		}
	}
}

// listen reads until the end.
func (h *hand) listen() error {
	b := make([]byte, 4<<10)
	for {
		n, err := h.Read(b)
		h.got.add(b[:n])
		if err != nil {
			return err
		}
	}
}

// logins logs in with a token until the connection or the raid ends, and counts the answers.
func (h *hand) logins(token string) error {
	login := request(1, "auth.login", texts(token)...)
	for h.raid.logins.wait(h.ctx) {
		if err := h.send(login); err != nil {
			h.rest()
			return err
		}
		for answered := false; !answered; {
			m, err := h.message()
			if err != nil {
				return err
			}
			if answered = m.Kind == wire.Response; !answered {
				continue
			}
			code := "ok"
			if m.Err != nil {
				code = string(wire.ParseError(m.Err).Code)
			}
			h.raid.answered(code)
		}
	}
	return nil
}

// message reads one message in native framing.
func (h *hand) message() (m wire.Message, err error) {
	head := make([]byte, wire.HeaderLen)
	if _, err := io.ReadFull(h, head); err != nil {
		return m, err
	}
	b := make([]byte, min(wire.FrameLen(head), wire.MaxFrame))
	if _, err := io.ReadFull(h, b); err != nil {
		return m, err
	}
	h.got.add(b)
	return m, m.Parse(b, wire.DefaultMaxElements)
}

// rest reads what the server said before it ended a connection on which a write failed.
func (h *hand) rest() {
	for {
		if _, err := h.message(); err != nil {
			return
		}
	}
}

// answersUpgrade asks whether WebSocket is spoken on the target.
func (a *attack) answersUpgrade() bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	end, _ := ctx.Deadline()
	r := &raid{attack: a, ctx: ctx, end: end}
	c, err := r.dial(kind{})
	if err != nil {
		return false
	}
	defer c.Close()
	if _, err := c.Write(upgradeOf(a.o.serverName())); err != nil {
		return false
	}
	b := make([]byte, len("HTTP/1.1 101"))
	_, err = io.ReadFull(c, b)
	return err == nil && strings.HasPrefix(string(b), "HTTP/1.1 101")
}
