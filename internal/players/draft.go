package players

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/game"
)

// Draft is a change of one player that is being made. What is written to it is
// stored in one transaction after the function that got it has returned, and
// belongs to the draft from then on. Loop only, and only until that function
// returns.
type Draft struct {
	e      *entry
	now    time.Time
	player *game.Player // as SetPlayer was given it last; nil: not changed
	rows   []commit.Row
	apply  []func() // makes the change visible, in order
	told   []func(error) error
	err    error // why it cannot be stored
}

// Now is the time of the change.
func (d *Draft) Now() time.Time { return d.now }

// UID is the player who is changed.
func (d *Draft) UID() uint64 { return d.e.uid }

// State is the player's state before the change, only to be read.
func (d *Draft) State() *State { return &d.e.state }

// Player is a copy of the player, as the draft has it so far, to be changed and
// given to SetPlayer.
func (d *Draft) Player() game.Player {
	if d.player != nil {
		return d.player.Clone()
	}
	return d.e.state.Player.Clone()
}

// SetPlayer changes the player's level, gold and items to those of p, and the
// name: see Rename, which also keeps names unique.
func (d *Draft) SetPlayer(p game.Player) {
	row, err := playerRow(commit.Upsert, p, d.e.seen, d.e.version)
	if err != nil {
		d.err = err
		return
	}
	d.Write(row)
	if d.player == nil {
		d.OnCommit(func() {
			d.e.resize(playerSize(*d.player) - playerSize(d.e.state.Player))
			d.e.state.Player = *d.player
		})
	}
	d.player = &p
}

// Rename changes the player's name, which must be allowed by game.CheckName. If
// somebody else has it by then, the change fails with commit.ErrDuplicate.
func (d *Draft) Rename(name string) {
	p := d.Player()
	// What an earlier Rename of this draft has written is void.
	d.rows = slices.DeleteFunc(d.rows, func(r commit.Row) bool { return r.Table == names })
	was, is := game.NameKey(d.e.state.Player.Name), game.NameKey(name)
	own := game.NameKey(game.DefaultName(p.UID))
	if was != is {
		if was != own {
			d.Write(commit.Row{Op: commit.Delete, Table: names, Values: []any{was}})
		}
		if is != own {
			d.Write(commit.Row{Op: commit.Insert, Table: names, Values: []any{is, int64(p.UID)}})
		}
	}
	p.Name = name
	d.SetPlayer(p)
}

// PutSave keeps a save under key.
func (d *Draft) PutSave(key string, s game.Save) {
	d.Write(saveRow(d.e.uid, key, s))
	d.OnCommit(func() {
		if d.e.state.Saves == nil {
			d.e.state.Saves = make(map[string]game.Save)
		}
		d.e.resize(saveSize(key, s))
		d.dropSave(key)
		d.e.state.Saves[key] = s
	})
}

// DeleteSave forgets the save under key.
func (d *Draft) DeleteSave(key string) {
	d.Write(commit.Row{Op: commit.Delete, Table: saves, Values: []any{int64(d.e.uid), key}})
	d.OnCommit(func() {
		d.dropSave(key)
		delete(d.e.state.Saves, key)
	})
}

func (d *Draft) dropSave(key string) {
	if old, ok := d.e.state.Saves[key]; ok {
		d.e.resize(-saveSize(key, old))
	}
}

// ClaimMail marks the mail id as claimed now; without such a mail it does
// nothing. One that SQL knows as claimed fails the change with
// commit.ErrDuplicate.
func (d *Draft) ClaimMail(id int64) {
	i := slices.IndexFunc(d.e.state.Mail, func(m game.Mail) bool { return m.ID == id })
	if i < 0 {
		return
	}
	at := d.now.UnixMilli()
	d.Write(commit.Row{Op: commit.Insert, Table: claims, Values: []any{int64(d.e.uid), id, at}})
	d.OnCommit(func() {
		// Found again: others may have come before it meanwhile.
		for i := range d.e.state.Mail {
			if d.e.state.Mail[i].ID == id {
				d.e.state.Mail[i].ClaimedMS = at
			}
		}
	})
}

// PutBest makes b the player's best score on a board.
func (d *Draft) PutBest(board string, b game.Best) {
	d.Write(commit.Row{Op: commit.Upsert, Table: ranks, Values: []any{int64(d.e.uid), board, b.Score, b.Came}})
	d.OnCommit(func() {
		if d.e.state.Bests == nil {
			d.e.state.Bests = make(map[string]game.Best)
		}
		if _, ok := d.e.state.Bests[board]; !ok {
			d.e.resize(bestSize(board))
		}
		d.e.state.Bests[board] = b
	})
}

// Write adds rows of any table to the transaction. Of two for one key the later
// counts.
func (d *Draft) Write(rows ...commit.Row) {
	for _, r := range rows {
		same := func(have commit.Row) bool { return have.SameKey(r) }
		if i := slices.IndexFunc(d.rows, same); i >= 0 {
			d.rows[i] = r
			continue
		}
		d.rows = append(d.rows, r)
	}
}

// Writes tells whether the draft writes the row of r's key already.
func (d *Draft) Writes(r commit.Row) bool { return slices.ContainsFunc(d.rows, r.SameKey) }

// OnCommit runs fn on the player's home loop when the change is stored, before
// its caller is told. It must not block.
func (d *Draft) OnCommit(fn func()) { d.apply = append(d.apply, fn) }

// OnFail runs fn on the player's home loop with the error that the caller of the change
// is about to be told, and tells what fn returns instead: the error, or one that says
// more. The function that made the draft may have failed, or the store; if the error says
// that it is not known whether the change is stored, what OnCommit was given may yet run.
// It must not block.
func (d *Draft) OnFail(fn func(error) error) { d.told = append(d.told, fn) }

// fail passes err through what OnFail was given.
func (d *Draft) fail(err error) error {
	for _, fn := range d.told {
		if p := panicOf(func() { err = fn(err) }); p != nil {
			d.e.shard.players.o.Log.Error("panic after a change has failed", zap.Uint64("uid", d.e.uid), zap.Any("panic", p.Value), zap.ByteString("stack", p.Stack))
		}
	}
	return err
}
