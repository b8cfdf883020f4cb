package crashtest

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"

	"gameserverd/client"
	"gameserverd/client/api"
)

func checksum(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }

func purseAnswer() (any, func() string) {
	var r api.ShopPurse // that of mail.claim has the same fields
	return &r, func() string { return fmt.Sprintf("gold %d items %v", r.Gold, r.Items) }
}

func viewAnswer() (any, func() string) {
	var r api.Player
	return &r, func() string { return fmt.Sprintf("name %q gold %d items %v", r.Name, r.Gold, r.Items) }
}

func buyOp(item string, count int64) *op {
	return &op{
		method: "shop.buy", params: []any{item, count}, decode: purseAnswer,
		apply: func(s *state) (*state, string) {
			cost := prices[item] * count
			if s.gold < cost {
				return s, refused(client.FailedPrecondition)
			}
			s = s.with(func(s *state) { s.gold -= cost; s.items[item] += count })
			return s, s.purse()
		},
	}
}

func claimOp(l letter) *op {
	return &op{
		method: "mail.claim", params: []any{l.id}, decode: purseAnswer,
		apply: func(s *state) (*state, string) {
			if s.claimed[l.id] {
				return s, refused(client.FailedPrecondition)
			}
			s = s.with(func(s *state) { s.claimed[l.id] = true; s.gold += l.gold; s.items[l.item]++ })
			return s, s.purse()
		},
	}
}

// stale is the answer to an if_version that is not the one there; "" if it is.
func stale(s *state, key string, ifVersion *int64) string {
	if ifVersion == nil || *ifVersion == s.saves[key].version {
		return ""
	}
	return fmt.Sprintf("%s version %d", refused(client.Aborted), s.saves[key].version)
}

func putOp(key, value string, ifVersion *int64) *op {
	o := &op{method: "save.put", params: []any{key, []byte(value)}}
	if ifVersion != nil {
		o.params = append(o.params, ifVersion)
	}
	o.decode = func() (any, func() string) {
		var r api.SaveWritten
		return &r, func() string { return fmt.Sprintf("version %d", r.Version) }
	}
	o.apply = func(s *state) (*state, string) {
		if answer := stale(s, key, ifVersion); answer != "" {
			return s, answer
		}
		next := kept{s.saves[key].version + 1, value}
		return s.with(func(s *state) { s.saves[key] = next }), fmt.Sprintf("version %d", next.version)
	}
	return o
}

func deleteOp(key string, ifVersion *int64) *op {
	o := &op{method: "save.delete", params: []any{key}}
	if ifVersion != nil {
		o.params = append(o.params, ifVersion)
	}
	o.decode = func() (any, func() string) {
		return new(client.Raw), func() string { return "deleted" }
	}
	o.apply = func(s *state) (*state, string) {
		if _, there := s.saves[key]; !there {
			return s, refused(client.NotFound)
		}
		if answer := stale(s, key, ifVersion); answer != "" {
			return s, answer
		}
		return s.with(func(s *state) { delete(s.saves, key) }), "deleted"
	}
	return o
}

func submitOp(score int64) *op {
	return &op{
		method: "rank.submit", params: []any{board, score},
		decode: func() (any, func() string) {
			var r api.RankStanding
			return &r, func() string { return fmt.Sprintf("best %d ranked %v", r.Best, r.Rank > 0) }
		},
		apply: func(s *state) (*state, string) {
			if score > s.best {
				s = s.with(func(s *state) { s.best = score })
			}
			return s, fmt.Sprintf("best %d ranked true", s.best)
		},
	}
}

// renameOp takes a name that nobody else wants, or one that may be somebody else's.
func renameOp(name string, contested bool) *op {
	o := &op{
		method: "player.rename", params: []any{name}, decode: viewAnswer,
		apply: func(s *state) (*state, string) {
			s = s.with(func(s *state) { s.name = name })
			return s, s.view()
		},
	}
	if contested {
		o.refuse = refused(client.AlreadyExists)
	}
	return o
}

func getOp() *op {
	return &op{
		method: "player.get", decode: viewAnswer, reads: true,
		apply: func(s *state) (*state, string) { return s, s.view() },
	}
}

func loadOp(key string) *op {
	return &op{
		method: "save.get", params: []any{key}, reads: true,
		decode: func() (any, func() string) {
			var r struct {
				Value   []byte `msgpack:"value"`
				Version int64  `msgpack:"version"`
			}
			return &r, func() string { return kept{r.Version, string(r.Value)}.String() }
		},
		apply: func(s *state) (*state, string) {
			k, there := s.saves[key]
			if !there {
				return s, refused(client.NotFound)
			}
			return s, k.String()
		},
	}
}

const (
	saveKeys       = 6
	contestedNames = 3
	bigValue       = 40 << 10
)

// spell writes a name in another way, which is the same name.
func spell(name string, r *rand.Rand) string {
	switch r.IntN(3) {
	case 0:
		return strings.ToLower(name)
	case 1:
		return strings.ToUpper(name)
	}
	return name
}

// randomOp is something that a player in about the state s may do next.
func (p *player) randomOp(r *rand.Rand, s *state) *op {
	key := fmt.Sprintf("slot%d", r.IntN(saveKeys))
	switch n := r.IntN(100); {
	case n < 25:
		items := []string{"potion", "bomb", "shield"}
		return buyOp(items[r.IntN(len(items))], 1+r.Int64N(3))
	case n < 45:
		return claimOp(p.letters[r.IntN(len(p.letters))]) // claimed before, as likely as not
	case n < 70:
		return putOp(key, randomValue(r), randomVersion(r, s.saves[key].version))
	case n < 78:
		return deleteOp(key, randomVersion(r, s.saves[key].version))
	case n < 88:
		return submitOp(max(1, s.best+r.Int64N(1000)-300))
	case n < 92:
		return renameOp(spell(p.contestedName(r.IntN(contestedNames)), r), true)
	case n < 96:
		return renameOp(fmt.Sprintf("%x.%d", p.uid, r.IntN(3)), false)
	case n < 98:
		return getOp()
	default:
		return loadOp(key)
	}
}

// randomVersion is an if_version that fits more often than not, or none.
func randomVersion(r *rand.Rand, there int64) *int64 {
	switch n := r.IntN(10); {
	case n < 4:
		return nil
	case n < 8:
		return &there
	default:
		v := max(0, there+r.Int64N(3)-1)
		return &v
	}
}

// randomValue is short, or sometimes long enough to be spread over many pages of the database.
func randomValue(r *rand.Rand) string {
	size := r.IntN(300)
	if r.IntN(50) == 0 {
		size = bigValue
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%016x:", r.Uint64())
	for b.Len() < size {
		b.WriteByte(byte(r.Uint32()))
	}
	return b.String()
}
