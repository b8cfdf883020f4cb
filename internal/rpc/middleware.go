package rpc

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
	// when its outcome is known and before the response is sent.
	After func(c *Call, err error)
}

// chain is the middleware of a server, the first outermost.
type chain []Middleware

func (ch chain) around(c *Call, run func() error) error {
	for _, m := range ch {
		if m.Before != nil {
			if err := m.Before(c); err != nil {
				return err
			}
		}
	}
	for i := len(ch) - 1; i >= 0; i-- {
		if around := ch[i].Around; around != nil {
			next := run
			run = func() error { return around(c, next) }
		}
	}
	return run()
}

func (ch chain) after(c *Call, err error) {
	for i := len(ch) - 1; i >= 0; i-- {
		if ch[i].After != nil {
			ch[i].After(c, err)
		}
	}
}
