package game

import (
	"unicode/utf8"

	"gameserverd/wire"
)

// MaxTitle is the length of the longest title of a mail, in characters.
const MaxTitle = 200

// Mail is something sent to a player, with gold and items that can be claimed
// from it once.
type Mail struct {
	ID        int64 // one of the player's mails; from 1
	Title     string
	Gold      int64            // 0 to MaxCount
	Items     map[string]int64 // 1 to MaxCount of each; never changed in place, so it may be shared
	SentMS    int64            // in UTC milliseconds
	ExpiresMS int64            // from then on it is not there, claimed or not
	ClaimedMS int64            // 0: not claimed
}

// Check reports, as invalid_argument, why m cannot be sent.
func (m Mail) Check() error {
	n := utf8.RuneCountInString(m.Title)
	switch {
	case !utf8.ValidString(m.Title):
		return wire.Errorf(wire.InvalidArgument, "a mail's title must be valid UTF-8")
	case n < 1 || n > MaxTitle:
		return wire.Errorf(wire.InvalidArgument, "a mail's title must have 1 to %d characters, got %d", MaxTitle, n)
	case m.Gold < 0 || m.Gold > MaxCount:
		return wire.Errorf(wire.InvalidArgument, "a mail's gold must be from 0 to %d, got %d", int64(MaxCount), m.Gold)
	case m.ExpiresMS <= m.SentMS:
		return wire.Errorf(wire.InvalidArgument, "a mail must expire after it is sent")
	}
	for item, count := range m.Items {
		if !itemName.MatchString(item) || count < 1 || count > MaxCount {
			return wire.Errorf(wire.InvalidArgument, "a mail cannot have %d of the item %q", count, item)
		}
	}
	return nil
}

// Expired reports whether m is no longer there at the time nowMS.
func (m Mail) Expired(nowMS int64) bool { return nowMS >= m.ExpiresMS }

// FindMail returns the mail id out of a player's mails, or not_found; one that
// has expired is not there.
func FindMail(mails []Mail, id, nowMS int64) (Mail, error) {
	for _, m := range mails {
		if m.ID == id && !m.Expired(nowMS) {
			return m, nil
		}
	}
	return Mail{}, wire.Errorf(wire.NotFound, "there is no mail %d, or it has expired", id)
}

// Claim returns p with what is in m. A mail that was claimed is
// failed_precondition, and one with more than p can hold out_of_range. The
// caller marks m as claimed in the same transaction.
func Claim(p Player, m Mail) (Player, error) {
	if m.ClaimedMS != 0 {
		return Player{}, wire.Errorf(wire.FailedPrecondition, "mail %d has been claimed already", m.ID)
	}
	return p.Give(m.Gold, m.Items)
}
