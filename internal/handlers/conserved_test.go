package handlers_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"gameserverd/internal/game"
	"gameserverd/internal/handlers/player"
	"gameserverd/internal/rpctest"
)

// Whatever players buy and claim, with answers that are lost and restarts between:
// what somebody has is what the first login and the claimed mails gave, less what
// the items cost; and what was acknowledged is there.
func TestGoldIsConserved(t *testing.T) { onStores(t, testGoldIsConserved) }

func testGoldIsConserved(t *testing.T, s *server) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const uids = 3
	acknowledged := make(map[uint64]map[string]int64)
	for uid := range uint64(uids) {
		acknowledged[uid+1] = make(map[string]int64)
	}
	mails := int64(0)
	for range 8 {
		var clients []*rpctest.Client
		for uid := range uint64(uids) {
			clients = append(clients, login(t, s, uid+1))
		}
		for range 40 {
			uid := r.Uint64N(uids) + 1
			c := clients[uid-1]
			switch r.IntN(6) {
			case 0:
				mails++
				s.send(uid, game.Mail{ID: mails, Title: "gold", Gold: r.Int64N(40), Items: map[string]int64{"medal": 1 + r.Int64N(3)}})
			case 1: // the answer is lost
				c.Go("mail.claim", 1+r.Int64N(mails+1))
				c.Go("shop.buy", "potion", r.Int64N(4))
				c.Close()
				clients[uid-1] = login(t, s, uid)
			case 2:
				c.Call("mail.claim", 1+r.Int64N(mails+1))
			default:
				item, n := []string{"sword", "potion", "axe"}[r.IntN(3)], r.Int64N(5)-1
				if _, err := c.Call("shop.buy", item, n); err == nil {
					acknowledged[uid][item] += n
				}
			}
			conserved(t, clients[uid-1], acknowledged[uid])
		}
		s = s.restart(time.Second)
		for uid := range uint64(uids) {
			conserved(t, login(t, s, uid+1), acknowledged[uid+1])
		}
	}
}

// conserved holds the sums of one player.
func conserved(t *testing.T, c *rpctest.Client, acknowledged map[string]int64) {
	t.Helper()
	var p player.Player
	c.Must(&p, "player.get")
	gold, medals := int64(100), int64(0)
	for _, m := range box(t, c) {
		if m.Claimed {
			gold += m.Gold
			medals += m.Items["medal"]
		}
	}
	if spent := 30*p.Items["sword"] + 7*p.Items["potion"]; p.Gold < 0 || p.Gold+spent != gold || p.Items["medal"] != medals {
		t.Fatalf("%d gold, %v: with %d gold and %d medals given", p.Gold, p.Items, gold, medals)
	}
	for item, n := range acknowledged {
		if p.Items[item] < n {
			t.Fatalf("%v, but %d of %s were acknowledged", p.Items, n, item)
		}
	}
}
