package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"gameserverd/internal/ctl"
	"gameserverd/internal/msgjson"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// Call is a method that an operator tries.
type Call struct {
	UID    uint64 // 0: nobody is logged in
	Method string
	Params []any
}

// Answer is what a method has answered.
type Answer struct {
	Result wire.Raw
	Way    string // in words: through whose session
}

// callTime is how long a method may take.
const callTime = 10 * time.Second

// callOrder is what /console/call takes. Params are JSON as package msgjson reads it.
type callOrder struct {
	UID    uint64            `json:"uid,string"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// called is the answer of /console/call: an error of the method is no error of the
// console.
type called struct {
	Result string     `json:"result,omitempty"` // JSON as text: numbers of scripts have 53 bits
	Error  *callError `json:"error,omitempty"`
	Way    string     `json:"way,omitempty"`
	TookMS float64    `json:"took_ms"`
}

type callError struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Data         string `json:"data,omitempty"` // likewise
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

func (c *Console) methods(w http.ResponseWriter, _ *http.Request) {
	answer(w, struct {
		Methods []rpc.MethodInfo `json:"methods"`
	}{c.o.Methods()})
}

func (c *Console) call(w http.ResponseWriter, r *http.Request) {
	var o callOrder
	if !read(w, r, &o) {
		return
	}
	problem := ""
	switch {
	case rpc.CheckName(o.Method) != nil:
		problem = rpc.CheckName(o.Method).Error()
	case strings.HasPrefix(o.Method, "auth."):
		problem = "the console logs nobody in or out: choose a player instead"
	}
	params := make([]any, len(o.Params))
	for i, raw := range o.Params {
		var err error
		if params[i], err = msgjson.Parse(string(raw)); err != nil && problem == "" {
			problem = fmt.Sprintf("param %d: %v", i+1, err)
		}
	}
	if problem != "" {
		fail(w, http.StatusBadRequest, "invalid_argument", problem)
		return
	}
	select {
	case c.calls <- struct{}{}:
		defer func() { <-c.calls }()
	default:
		fail(w, http.StatusServiceUnavailable, "resource_exhausted", "too many methods are tried at once")
		return
	}
	var done called
	err := c.audited(w, r, entry{Action: "call", UID: o.UID, Method: o.Method}, func(ctx context.Context) (string, error) {
		done = c.try(ctx, Call{o.UID, o.Method, params})
		if done.Error != nil {
			return done.Error.Code, nil
		}
		return "ok", nil
	})
	if err == nil {
		answer(w, done)
	}
}

// try calls the method. What it answers may hold what nobody else may know: it goes to
// the operator who asked, and to no log.
func (c *Console) try(ctx context.Context, call Call) (done called) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	began := time.Now()
	a, err := c.o.Call(ctx, call)
	done.Way, done.TookMS = a.Way, float64(time.Since(began).Microseconds())/1000
	if err == nil {
		done.Result = string(msgjson.Append(nil, a.Result))
		return done
	}
	done.Error = &callError{Code: string(wire.CodeOf(err)), Message: err.Error()}
	var of *ctl.Error
	var e *wire.Error
	switch {
	case errors.As(err, &of):
		done.Error.Code, done.Error.Message = of.Code, of.Message
	case errors.As(err, &e):
		done.Error.Message, done.Error.RetryAfterMS = e.Message, e.RetryAfter.Milliseconds()
		if raw, err := wire.AppendAny(nil, e.Data); err == nil && e.Data != nil {
			done.Error.Data = string(msgjson.Append(nil, raw))
		}
	}
	return done
}
