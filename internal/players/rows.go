package players

import (
	"cmp"
	"encoding/json"
	"fmt"

	"gameserverd/internal/commit"
	"gameserverd/internal/game"
	"gameserverd/internal/store"
)

// The tables as rows are written to them; the columns are in internal/store/schema.
var (
	// A player who changes: what says who made the player and who owns it stays.
	playersTable = commit.NewTable("players", []string{"uid"}, "name", "level", "gold", "items", "created_ms", "seen_ms", "version")
	names        = commit.NewTable("names", []string{"name_key"}, "uid")
	saves        = commit.NewTable("saves", []string{"uid", "save_key"}, "value", "version", "updated_ms")
	mail         = commit.NewTable("mail", []string{"uid", "id"}, "source", "title", "gold", "items", "sent_ms", "expires_ms")
	claims       = commit.NewTable("claims", []string{"uid", "id"}, "claimed_ms")
	ranks        = commit.NewTable("ranks", []string{"uid", "board"}, "score", "came")
)

// playerRow is a player as it is stored: seen is the last login, in ms, and
// version the owner's.
func playerRow(op commit.Op, p game.Player, seen, version int64) (commit.Row, error) {
	items, err := encodeItems(p.Items)
	return commit.Row{Op: op, Table: playersTable, Values: []any{
		int64(p.UID), p.Name, p.Level, p.Gold, items, p.Created.UnixMilli(), seen, version,
	}}, err
}

func saveRow(uid uint64, key string, s game.Save) commit.Row {
	return commit.Row{Op: commit.Upsert, Table: saves, Values: []any{int64(uid), key, s.Value, s.Version, s.UpdatedMS}}
}

func mailRow(uid uint64, m game.Mail, source string) (commit.Row, error) {
	items, err := encodeItems(m.Items)
	return commit.Row{Op: commit.Insert, Table: mail, Values: []any{
		int64(uid), m.ID, source, m.Title, m.Gold, items, m.SentMS, m.ExpiresMS,
	}}, err
}

func encodeItems(items map[string]int64) ([]byte, error) {
	if len(items) == 0 {
		return []byte("{}"), nil
	}
	return json.Marshal(items)
}

func decodeItems(b []byte) (map[string]int64, error) {
	if len(b) == 0 || string(b) == "{}" {
		return nil, nil
	}
	var items map[string]int64
	if err := json.Unmarshal(b, &items); err != nil {
		return nil, fmt.Errorf("players: items in SQL are no JSON object of counts: %w", err)
	}
	return items, nil
}

// compareMail orders mails by when they were sent.
func compareMail(a, b game.Mail) int {
	return cmp.Or(cmp.Compare(a.SentMS, b.SentMS), cmp.Compare(a.ID, b.ID))
}

// What a state needs in memory, in bytes, about: what bounds those who linger.
const (
	entrySize = 512
	valueSize = 64 // of something in a map or list, beside its bytes
)

func stateSize(s *State) int64 {
	n := entrySize + playerSize(s.Player)
	for key, save := range s.Saves {
		n += saveSize(key, save)
	}
	for _, m := range s.Mail {
		n += mailSize(m)
	}
	for board := range s.Bests {
		n += bestSize(board)
	}
	return n
}

func playerSize(p game.Player) int64 { return int64(len(p.Name) + len(p.Items)*valueSize) }

func saveSize(key string, s game.Save) int64 { return int64(len(key) + len(s.Value) + valueSize) }

func mailSize(m game.Mail) int64 { return int64(len(m.Title)+len(m.Items)*valueSize) + 2*valueSize }

func bestSize(board string) int64 { return int64(len(board)) + valueSize }

// The statements that read.

// selectNameOwner finds who has chosen a name, by the primary key of names; one
// row or none.
const selectNameOwner = `SELECT uid FROM names WHERE name_key = ?`

// scanUID reads a uid, kept in SQL as the signed number with the same bits.
func scanUID(row store.Row, more ...any) (uint64, error) {
	var uid int64
	err := row.Scan(append([]any{&uid}, more...)...)
	return uint64(uid), err
}
