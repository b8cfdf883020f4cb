// Package shop sells items for gold. What is sold and what one can afford is in
// package game.
//
// Its one invariant: gold goes and items come in one transaction.
package shop

import (
	"maps"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
)

// Handlers are the methods of the area.
type Handlers struct {
	players *players.Players
	shop    func() *game.Shop // what is sold now
}

// New returns the area's handlers.
func New(players *players.Players, shop func() *game.Shop) *Handlers {
	return &Handlers{players, shop}
}

// Offer is something that is sold.
type Offer struct {
	Item  string `msgpack:"item"`
	Price int64  `msgpack:"price"` // gold for one
}

// List returns what the shop sells.
func (h *Handlers) List(c *rpc.Call) ([]Offer, error) {
	items := h.shop().Items()
	offers := make([]Offer, len(items))
	for i, item := range items {
		offers[i] = Offer{item.Name, item.Price}
	}
	return offers, nil
}

// Purse is what a player has after buying.
type Purse struct {
	Gold  int64            `msgpack:"gold"`
	Items map[string]int64 `msgpack:"items"` // how many of each, by item
}

// Buy takes the gold for count of an item and gives them to the caller: all of it
// or, also if the server breaks down, nothing. It returns what the caller has
// then.
//
// An item that is not sold is not_found, a count below 1 invalid_argument, not
// enough gold failed_precondition. With more than 2^53-1 of an item in the end
// it would be out_of_range.
//
//rpc:durable
func (h *Handlers) Buy(c *rpc.Call, item string, count int64) *future.Future[Purse] {
	return rpc.Waits(c, "players.change", players.Change(h.players, c.UID(), func(d *players.Draft) (Purse, error) {
		p, err := h.shop().Buy(d.Player(), item, count)
		if err != nil {
			return Purse{}, err
		}
		d.SetPlayer(p)
		return Purse{p.Gold, maps.Clone(p.Items)}, nil
	}))
}
