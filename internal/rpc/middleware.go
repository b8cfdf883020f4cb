package rpc

import "errors"

// Middleware is code that runs with every call. A nil function is left out. The
// list is fixed when the server starts; with an empty one a call pays nothing.
type Middleware struct {
	// Before runs on the loop when the call's turn has come; an error refuses
	// the call.
	Before func(c *Call) error
	// Around runs the method's own code by calling next, exactly once, on the
	// loop: a plain method whole, any other one's start. What it returns is the
	// call's error.
	Around func(c *Call, next func() error) error
	// After runs on the loop once for each call that Before let pass or refused,
	// when its outcome is known and before the response is sent, if anybody is
	// still there to get one.
	After func(c *Call, err error)
}

// OnEnd has fn called as a Middleware's After for each call that ends from now on;
// nil: nothing. Beside a Middleware it can come and go while calls are under way,
// and costs calls nothing while it is away. Any goroutine.
func (p *Peers) OnEnd(fn func(c *Call, err error)) {
	if fn == nil {
		p.ended.Store(nil)
		return
	}
	p.ended.Store(&Middleware{After: fn})
}

// observed reports whether anybody wants to know how calls end.
func (p *Peers) observed() bool { return p.watched || p.ended.Load() != nil }

// after tells who wants to know how a call has ended.
func (p *Peers) after(c *Call, err error) {
	p.middleware.after(c, err)
	if m := p.ended.Load(); m != nil {
		m.after(c, err)
	}
	if c.span != nil {
		c.endSpan(err)
	}
}

// chain is the middleware of a server, the first outermost.
type chain []Middleware

// errNotBegun is the error of a call whose middleware kept it from its method and
// gave no reason.
var errNotBegun = errors.New("rpc: a middleware's Around has neither called next nor returned an error")

// around runs a call inside the middleware.
func (ch chain) around(c *Call, run func() error) error {
	for _, m := range ch {
		if m.Before != nil {
			if err := m.Before(c); err != nil {
				return err
			}
		}
	}
	begun, begin := false, run
	run = func() error { begun = true; return begin() }
	for i := len(ch) - 1; i >= 0; i-- {
		if around := ch[i].Around; around != nil {
			next := run
			run = func() error { return around(c, next) }
		}
	}
	err := run()
	if err == nil && !begun {
		return errNotBegun
	}
	return err
}

func (ch chain) after(c *Call, err error) {
	for i := len(ch) - 1; i >= 0; i-- {
		if ch[i].After != nil {
			ch[i].after(c, err)
		}
	}
}

// after runs After. Its panic must not undo a call that has ended.
func (m *Middleware) after(c *Call, err error) {
	defer func() {
		if v := recover(); v != nil {
			_ = c.hub.Load().panicked(c, v) // which has logged it
		}
	}()
	m.After(c, err)
}
