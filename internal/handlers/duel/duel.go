// Package duel lets one player challenge another. It has no fight: it shows how
// the server asks a client something and waits for the answer.
//
// Its one invariant: a challenge ends, with an answer or an error, within
// Options.Timeout.
package duel

import (
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// Offer is the method of the challenged player's client: (from_uid) -> bool.
const Offer = "duel.offer"

// Options are the area's settings, as they are when a challenge is made.
type Options struct {
	Timeout time.Duration // how long the challenged player may take to answer
}

// Handlers are the methods of the area.
type Handlers struct {
	peers   *rpc.Peers
	options func() Options
}

// New returns the area's handlers.
func New(peers *rpc.Peers, options func() Options) *Handlers { return &Handlers{peers, options} }

// Answer is what became of a challenge.
type Answer struct {
	Accepted bool `msgpack:"accepted"` // whether the other player wants to fight
}

// Challenge asks the player uid for a duel: the server calls duel.offer(from_uid)
// of the other client, and what that answers, true or false, is the result.
//
// A player who is not online, or who goes, is failed_precondition; one who does
// not answer in time deadline_exceeded; a client without duel.offer
// unimplemented; and one that answers something else aborted.
//
//rpc:concurrent
//rpc:waits
func (h *Handlers) Challenge(c *rpc.Call, uid uint64) *future.Future[Answer] {
	if uid == 0 || uid == c.UID() {
		return future.Failed[Answer](rpc.Errorf(rpc.InvalidArgument, "duel.challenge: uid %d is nobody else", uid))
	}
	done := future.New[Answer]()
	rpc.CallAs[bool](h.peers, c, uid, h.options().Timeout, Offer, c.UID()).Then(c, func(accepted bool, err error) {
		if err != nil {
			done.Fail(refusal(uid, err))
			return
		}
		done.Resolve(Answer{accepted})
	})
	return done
}

// refusal is what the challenger is told when the other client gave no answer.
// What that client says of itself is its own affair: it must not look like an
// error of the challenger or of the server.
func refusal(uid uint64, err error) error {
	switch wire.CodeOf(err) {
	case rpc.FailedPrecondition, rpc.Canceled:
		return rpc.Errorf(rpc.FailedPrecondition, "duel.challenge: player %d is not online", uid)
	case rpc.DeadlineExceeded:
		return rpc.Errorf(rpc.DeadlineExceeded, "duel.challenge: player %d did not answer in time", uid)
	case rpc.Unimplemented:
		return rpc.Errorf(rpc.Unimplemented, "duel.challenge: the client of player %d has no %s", uid, Offer)
	case rpc.ResourceExhausted:
		return err // with the time after which to try again
	default:
		return rpc.Errorf(rpc.Aborted, "duel.challenge: the client of player %d did not answer true or false", uid)
	}
}
