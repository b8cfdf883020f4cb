package console

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/linefile"
)

// Audit is the file with what operators have done: JSON lines, added to and never
// changed. An act has two, with the same id: one before, and one with what came of it.
// Any goroutine.
type Audit struct {
	file *linefile.File
	life string        // what the ids of this opening begin with
	last atomic.Uint64 // id
}

// entry is one line.
type entry struct {
	Time    time.Time `json:"time"`
	ID      string    `json:"id"`
	Action  string    `json:"action"`
	Address string    `json:"address,omitempty"` // the browser's
	Session string    `json:"session,omitempty"` // open: nobody was asked for a token
	UID     uint64    `json:"uid,omitempty"`
	Method  string    `json:"method,omitempty"`
	Task    string    `json:"task,omitempty"`
	Text    string    `json:"text,omitempty"`
	Result  string    `json:"result,omitempty"` // of the second line
}

// OpenAudit opens the file at path, which it makes with mode 0600 if it is not there.
func OpenAudit(path string) (*Audit, error) {
	file, err := linefile.Open(path, 0o600)
	if err != nil {
		return nil, err
	}
	// The process's number would be 1 at every start of a container.
	return &Audit{file: file, life: strings.ToLower(rand.Text()[:8])}, nil
}

// begin writes the line before an act, and returns its id.
func (a *Audit) begin(e entry) (id string, err error) {
	e.ID = a.life + "-" + strconv.FormatUint(a.last.Add(1), 10)
	return e.ID, a.end(e)
}

// end writes the line after it.
func (a *Audit) end(e entry) error {
	e.Time = time.Now().UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = a.file.Write(append(line, '\n'))
	return err
}

func (a *Audit) reopen() error { return a.file.Reopen() }
func (a *Audit) close() error  { return a.file.Close() }

// audited writes down what a request is about to change, and then does it. act's
// error, or what it says in words, becomes the second line. Its context does not end
// when the browser goes: what was begun is done.
func (c *Console) audited(w http.ResponseWriter, r *http.Request, e entry, act func(ctx context.Context) (result string, err error)) error {
	e.Address, e.Session = r.RemoteAddr, sessionOf(r).name
	id, err := c.o.Audit.begin(e)
	if err != nil {
		c.notWritten(w, err)
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askTime)
	defer cancel()
	result, acted := act(ctx)
	if acted != nil {
		result = "error: " + acted.Error()
	}
	c.o.Log.Info("an operator's command", zap.String("command", "console "+e.Action), zap.String("peer", e.Address), zap.String("session", e.Session),
		zap.Uint64("uid", e.UID), zap.String("method", e.Method), zap.String("task", e.Task), zap.Error(acted))
	if err := c.o.Audit.end(entry{ID: id, Action: e.Action, Result: result}); err != nil {
		c.o.Log.Error("the audit log cannot be written to", zap.Error(err))
	}
	if acted != nil {
		failed(w, acted)
	}
	return acted
}

func (c *Console) notWritten(w http.ResponseWriter, err error) {
	c.o.Log.Error("the audit log cannot be written to", zap.Error(err))
	fail(w, http.StatusServiceUnavailable, "unavailable", "refused: the audit log cannot be written to")
}
