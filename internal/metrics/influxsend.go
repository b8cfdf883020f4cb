package metrics

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// send sends what is in the queue, as it comes, until ctx ends; requests ends those
// under way.
func (x *Influx) send(ctx, requests context.Context) {
	failures := 0
	for ctx.Err() == nil {
		body := x.queue.first()
		if body == nil {
			select {
			case <-x.queue.wake:
			case <-ctx.Done():
			}
			continue
		}
		wait, done := x.try(requests, body)
		x.queue.sent(done)
		if done {
			failures = 0
			continue
		}
		failures++
		if wait == 0 {
			wait = x.backOff(failures)
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// sendFirst sends the oldest body, at the end; false: there is none, or it cannot be
// sent.
func (x *Influx) sendFirst(ctx context.Context) bool {
	body := x.queue.first()
	if body == nil {
		return false
	}
	_, done := x.try(ctx, body)
	x.queue.sent(done)
	return done
}

// try sends a body. done: the server has it, or will never take it. wait is how long
// the server says to wait; 0: it says nothing.
func (x *Influx) try(ctx context.Context, body []byte) (wait time.Duration, done bool) {
	a, err := x.post(ctx, body)
	if err == nil && a.status == http.StatusUnauthorized {
		// The token may have been changed meanwhile, which is no failure.
		if changed, problem := x.readToken(); problem != nil {
			a.words = problem.Error()
		} else if changed {
			a, err = x.post(ctx, body)
		}
	}
	switch {
	case err == nil && a.status == http.StatusNoContent: // what all say that speak this; 200 says a web page, or InfluxDB 1 that has not done it
		x.sent.Add(1)
		x.through()
		return 0, true
	case err != nil && errors.Is(ctx.Err(), context.Canceled): // not the server's fault
		return 0, false
	case err != nil:
		x.failed.Add(1)
		x.cut(zap.Error(err))
		return 0, false
	case a.later():
		x.failed.Add(1)
		x.cut(zap.Int("status", a.status), zap.String("answer", a.words))
		return a.wait, false
	}
	x.dropped.Add(1)
	x.through() // it can be reached
	if x.refused.now() {
		x.o.Log.Warn("InfluxDB refuses metrics: they are dropped", zap.String("url", x.shown), zap.Int("status", a.status), zap.String("answer", a.words))
	}
	return 0, true
}

// through notes that the server answers.
func (x *Influx) through() {
	if x.away.IsZero() {
		return
	}
	x.o.Log.Info("metrics reach InfluxDB again", zap.String("url", x.shown), zap.Duration("away", time.Since(x.away).Round(time.Millisecond)),
		zap.Int64("dropped", x.dropped.Load()-x.lost))
	x.away = time.Time{}
}

// cut notes that it does not, and logs the first time of an absence.
func (x *Influx) cut(why ...zap.Field) {
	if !x.away.IsZero() {
		return
	}
	x.away, x.lost = time.Now(), x.dropped.Load()
	x.o.Log.Warn("metrics do not reach InfluxDB: they are kept and sent later", append([]zap.Field{zap.String("url", x.shown)}, why...)...)
}

// answer is what a server has said.
type answer struct {
	status int
	words  string        // the beginning of its body
	wait   time.Duration // Retry-After; 0: there is none
}

// later tells whether the same body may be taken later. It may where the server is
// not well or too busy, or what is wrong is not the body: the path, the database, the
// token, the server itself.
func (a *answer) later() bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return a.status/100 != 4 // 2xx: it is not InfluxDB; 3xx: somebody has moved it
}

// post sends one request.
func (x *Influx) post(ctx context.Context, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, x.pushTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, withoutURL(err)
	}
	request.Header.Set("Content-Encoding", "gzip")
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	request.Header.Set("User-Agent", "gameserverd")
	if a := x.authorization.Load(); a != nil {
		request.Header.Set("Authorization", *a)
	}
	response, err := x.client.Do(request)
	if err != nil {
		return answer{}, withoutURL(err)
	}
	defer response.Body.Close()
	words, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // the status says enough
	return answer{
		status: response.StatusCode, words: strings.ToValidUTF8(strings.TrimSpace(string(words)), "?"),
		wait: retryAfter(response.Header.Get("Retry-After"), time.Now()),
	}, nil
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), obeyMost)
}

// TokenError says that the token's file cannot be used, and why.
type TokenError struct{ Err error }

// Error names the file.
func (e *TokenError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

// readToken reads the token's file, and reports whether something else is in it now.
func (x *Influx) readToken() (changed bool, err error) {
	if x.o.TokenFile == "" {
		return false, nil
	}
	file, err := os.Open(x.o.TokenFile)
	if err != nil {
		return false, &TokenError{err} // a *PathError, which names the file
	}
	defer file.Close()
	const most = 4 << 10
	raw, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return false, &TokenError{err} // a *PathError, which names the file
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || len(raw) > most || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
		return false, &TokenError{fmt.Errorf("%s must hold one line, of at most %d bytes of ASCII", x.o.TokenFile, most)}
	}
	header := "Token " + token
	if !strings.Contains(x.shown, "/api/v2/") && strings.Contains(token, ":") {
		header = "Basic " + base64.StdEncoding.EncodeToString([]byte(token))
	}
	old := x.authorization.Swap(&header)
	return old == nil || *old != header, nil
}

// withoutURL is a client's error without the URL, which may have a password.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
