package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"gameserverd/client"
	"gameserverd/client/api"
	"gameserverd/wire"
)

// player is one player of the test, who plays over one connection after another.
type player struct {
	uid      uint64
	era      string // different for those who were made together
	letters  []letter
	model    *model
	answered atomic.Int64 // changes whose outcome was told: while it grows, the daemon works
}

// newPlayers makes players who have never logged in, and the mails that will wait for them.
func newPlayers(r *rand.Rand, n, mails int) []*player {
	var all []*player
	era := fmt.Sprintf("%08x", r.Uint32())
	for range n {
		p := &player{uid: r.Uint64() | 1, era: era}
		for id := range int64(mails) {
			p.letters = append(p.letters, letter{id: id + 1, gold: 1 + r.Int64N(60), item: []string{"medal", "egg"}[r.IntN(2)]})
		}
		p.model = newModel(p.uid)
		all = append(all, p)
	}
	return all
}

// errLost is the end of a connection: the daemon was killed. errWrong is an answer that cannot be right.
var (
	errLost  = errors.New("the connection was lost")
	errWrong = errors.New("wrong answer")
)

// connect dials and logs in, again and again while the daemon says that it cannot now.
func (p *player) connect(addr string) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	c, err := client.Dial(ctx, addr, client.WithoutReconnect())
	if err != nil {
		return nil, errLost
	}
	for {
		_, err := c.Login(ctx, fmt.Sprintf("dev:%d", p.uid))
		switch kind, answer := ended(err); {
		case err == nil:
			return c, nil
		case kind == settled:
			c.Close()
			return nil, fmt.Errorf("player %d: login: %s", p.uid, answer)
		case kind == lost || c.Err() != nil:
			c.Close()
			return nil, errLost
		}
		pause()
	}
}

// pause keeps a player from trying again at once what was answered unavailable.
func pause() { <-time.After(10 * time.Millisecond) }

// ended says how a call ended that returned err, and with which answer if it failed.
func ended(err error) (ending, string) {
	if err == nil {
		return settled, ""
	}
	answer, fromServer := err.(*client.Error) // what the client makes of a failure of its own wraps one
	switch {
	case errors.Is(err, client.ErrMayHaveRun):
		return lost, err.Error()
	case !fromServer:
		return undone, err.Error() // never sent
	case strings.Contains(answer.Message, "nothing was"), answer.Code == client.ResourceExhausted:
		return undone, err.Error()
	case answer.Code == client.Unavailable:
		return unknown, err.Error()
	case answer.Code == client.Aborted:
		return settled, fmt.Sprintf("%s version %s", refused(answer.Code), version(answer))
	}
	return settled, refused(answer.Code)
}

// version is the one that a refused save.put or save.delete tells.
func version(e *client.Error) string {
	raw, _ := e.Data.(client.Raw)
	var data struct {
		Version int64 `msgpack:"version"`
	}
	if err := wire.Unmarshal(raw, &data); err != nil {
		return err.Error()
	}
	return fmt.Sprint(data.Version)
}

// call is an op on its way.
type call struct {
	op      *op
	pending *client.Pending
	answer  func() string
}

func start(c *client.Client, o *op) *call {
	result, answer := o.decode()
	return &call{o, c.Go(context.Background(), o.method, result, o.params...), answer}
}

func (c *call) wait() outcome {
	err := c.pending.Wait()
	kind, text := ended(err)
	if err == nil {
		text = c.answer()
	}
	return outcome{c.op, kind, text}
}

// play does random things over c, up to depth of them at once, until the connection is lost or stop is closed, and
// returns how they ended, in order.
func (p *player) play(c *client.Client, r *rand.Rand, depth int, stop <-chan struct{}) []outcome {
	var under []*call
	var done []outcome
	guess := p.model.may[0] // about where the player is by now: what is tried next should make some sense
	finish := func() bool {
		o := under[0].wait()
		under = under[1:]
		done = append(done, o)
		if o.ending == settled && !o.op.reads {
			p.answered.Add(1)
		}
		if o.ending == unknown || o.ending == undone {
			pause()
		}
		return o.ending != lost && c.Err() == nil
	}
	for alive := true; alive; {
		select {
		case <-stop:
			alive = false
			continue
		default:
		}
		o := p.randomOp(r, guess)
		guess, _ = o.apply(guess)
		under = append(under, start(c, o))
		if len(under) >= depth {
			alive = finish()
		}
	}
	for len(under) > 0 {
		finish()
	}
	return done
}

// look reads the player's whole state, the best score from the board. It is errLost if the connection ended meanwhile.
func (p *player) look(c *client.Client) (*state, error) { return p.lookBy(c, p.read) }

// lookApart is look without the score: a board that two daemons share may get one from the other a little later.
func (p *player) lookApart(c *client.Client) (*state, error) { return p.lookBy(c, p.readApart) }

func (p *player) lookBy(c *client.Client, read func(context.Context, api.API, *state) error) (*state, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	a := api.New(c)
	s := newState(p.uid)
	for {
		err := read(ctx, a, s)
		kind, answer := ended(err)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, errWrong):
			return nil, fmt.Errorf("player %d: %w", p.uid, err)
		case kind == lost || c.Err() != nil:
			return nil, errLost
		case kind == settled:
			return nil, fmt.Errorf("player %d: reading: %s", p.uid, answer)
		}
		pause()
	}
}

func (p *player) readApart(ctx context.Context, a api.API, s *state) error {
	s.best = notRead
	me, err := a.Player.Get(ctx)
	if err != nil {
		return err
	}
	s.name, s.gold, s.items = me.Name, me.Gold, me.Items
	saves, err := a.Save.List(ctx)
	if err != nil {
		return err
	}
	clear(s.saves)
	for _, info := range saves {
		saved, err := a.Save.Get(ctx, info.Key)
		if err != nil {
			return err
		}
		var value []byte
		if err := wire.Unmarshal(saved.Value, &value); err != nil {
			return fmt.Errorf("%w: save %s: %w", errWrong, info.Key, err)
		}
		s.saves[info.Key] = kept{saved.Version, string(value)}
	}
	mails, err := a.Mail.List(ctx)
	if err != nil {
		return err
	}
	clear(s.claimed)
	for _, m := range mails {
		if m.Claimed {
			s.claimed[m.ID] = true
		}
	}
	if len(mails) != len(p.letters) {
		return fmt.Errorf("%w: %d mails, not %d", errWrong, len(mails), len(p.letters))
	}
	return nil
}

func (p *player) read(ctx context.Context, a api.API, s *state) error {
	if err := p.readApart(ctx, a, s); err != nil {
		return err
	}
	rows, err := a.Rank.Around(ctx, board, 1)
	switch {
	case client.CodeOf(err) == client.NotFound:
		s.best = 0
	case err != nil:
		return err
	default:
		s.best = rows[0].Score
	}
	return nil
}

// boardFits looks at the first rows of the board, which are to be the best scores of all players in order, those of
// earlier eras between them.
func boardFits(c *client.Client, all []*player) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	rows, err := api.New(c).Rank.Top(ctx, board, 100)
	if err != nil {
		return err
	}
	best := map[uint64]int64{}
	for i, row := range rows {
		if row.Rank != int64(i+1) || i > 0 && row.Score > rows[i-1].Score {
			return fmt.Errorf("row %d of the board is %+v", i+1, row)
		}
		if _, twice := best[row.UID]; twice {
			return fmt.Errorf("player %d is on the board twice", row.UID)
		}
		best[row.UID] = row.Score
	}
	for _, p := range all {
		want := p.model.may[0].best // it was just verified
		score, there := best[p.uid]
		if there && score != want || !there && len(rows) < 100 && want != 0 {
			return fmt.Errorf("player %d is on the board with %d, not %d", p.uid, score, want)
		}
	}
	return nil
}

// fold is a contested name in its one spelling.
func fold(name string) string { return strings.ToLower(name) }

// contestedName is one of the names that all players of an era want.
func (p *player) contestedName(i int) string { return fmt.Sprintf("Everybody %s.%d", p.era, i) }
