// Package mail shows players what was sent to them and lets them take what is
// inside. It sends none: players.SendMail does.
//
// Its one invariant: what is in a mail is given once, together with the mark
// that it was.
package mail

import (
	"maps"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
)

// ArrivedMethod is the notification that a player who is online gets with a new
// mail: (id, title).
const ArrivedMethod = "mail.arrived"

// Arrived returns the function that tells players of new mail, for
// players.Options. Who misses it sees the mail in the list.
func Arrived(peers *rpc.Peers) func(uid uint64, m game.Mail) {
	return func(uid uint64, m game.Mail) { _ = peers.Notify(uid, ArrivedMethod, m.ID, m.Title) }
}

// Handlers are the methods of the area.
type Handlers struct{ players *players.Players }

// New returns the area's handlers.
func New(players *players.Players) *Handlers { return &Handlers{players} }

// Mail is something that was sent to the player.
type Mail struct {
	ID        int64            `msgpack:"id"`
	Title     string           `msgpack:"title"`
	Gold      int64            `msgpack:"gold"`       // to be claimed
	Items     map[string]int64 `msgpack:"items"`      // to be claimed: how many of each, by item
	SentMS    int64            `msgpack:"sent_ms"`    // in UTC milliseconds
	ExpiresMS int64            `msgpack:"expires_ms"` // when it goes, claimed or not, in UTC milliseconds
	Claimed   bool             `msgpack:"claimed"`    // what was in it has been given
}

// List returns the caller's mails, the oldest first, with those that were
// claimed; only expired ones are gone.
//
// When a mail comes while the player is online, the client is notified with
// mail.arrived(id, title).
func (h *Handlers) List(c *rpc.Call) *future.Future[[]Mail] {
	now := c.Now().UnixMilli()
	return players.Look(h.players, c.UID(), func(s *players.State) ([]Mail, error) {
		list := make([]Mail, 0, len(s.Mail))
		for _, m := range s.Mail {
			if !m.Expired(now) {
				list = append(list, Mail{m.ID, m.Title, m.Gold, items(m.Items), m.SentMS, m.ExpiresMS, m.ClaimedMS != 0})
			}
		}
		return list, nil
	})
}

// Purse is what a player has after claiming.
type Purse struct {
	Gold  int64            `msgpack:"gold"`
	Items map[string]int64 `msgpack:"items"` // how many of each, by item
}

// Claim gives the caller the gold and items of a mail, once, and returns what the
// caller has then.
//
// A mail that is not there or has expired is not_found, and one that was claimed
// failed_precondition: after an answer that was lost, this or mail.list says
// that the claim was made. If the caller would have more than 2^53-1 of
// something, nothing is given: out_of_range.
//
//rpc:durable
func (h *Handlers) Claim(c *rpc.Call, id int64) *future.Future[Purse] {
	return rpc.Waits(c, "players.change", players.Change(h.players, c.UID(), func(d *players.Draft) (Purse, error) {
		m, err := game.FindMail(d.State().Mail, id, d.Now().UnixMilli())
		if err != nil {
			return Purse{}, err
		}
		p, err := game.Claim(d.Player(), m)
		if err != nil {
			return Purse{}, err
		}
		d.SetPlayer(p)
		d.ClaimMail(id)
		return Purse{p.Gold, items(p.Items)}, nil
	}))
}

// items is a copy for the wire: an empty map, not nil.
func items(of map[string]int64) map[string]int64 {
	if of == nil {
		return map[string]int64{}
	}
	return maps.Clone(of)
}
