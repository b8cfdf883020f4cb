// Package auth proves who a player is from a login token. It does not know
// connections or sessions: the handlers of the same name do.
//
// Its one invariant: a uid that it returns is never 0.
package auth

import (
	"errors"
	"strconv"
	"strings"
)

var errDevToken = errors.New("the token must be dev:<uid>, a uid from 1 to 18446744073709551615, for example dev:7")

// Dev believes every client: the token "dev:7" is player 7. It is for
// development only; the server refuses it where others than this machine can
// connect.
type Dev struct{}

// Verify returns the uid in the token. Any goroutine.
func (Dev) Verify(token string) (uint64, error) {
	digits, ok := strings.CutPrefix(token, "dev:")
	if !ok {
		return 0, errDevToken
	}
	uid, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || uid == 0 {
		return 0, errDevToken
	}
	return uid, nil
}
