package ctl

import (
	"context"
	"errors"
	"testing"
	"time"

	"gameserverd/wire"
)

// What came before the end of a trace is shown, but to nobody who has been signed out.
func TestFollowShowsTheRestToWhoMaySeeIt(t *testing.T) {
	for _, test := range []struct {
		name    string
		do      func(f *Follow, send func(), cancel func())
		end     string
		n       int
		ok      bool
		dropped int
	}{
		{"the daemon ends", func(f *Follow, send, _ func()) {
			ending := make(chan struct{})
			close(ending)
			f.Ending = ending
			send()
		}, "the daemon ends", 2, true, 1},
		{"signed out", func(f *Follow, send, _ func()) {
			f.Beat = func(int) (string, error) { send(); return "signed out", nil }
		}, "signed out", 0, true, 1},
		{"the browser has gone", func(f *Follow, _, _ func()) {
			f.Beat = func(int) (string, error) { return "", errors.New("gone") }
		}, "", 0, false, 0},
		{"a message to nobody", func(f *Follow, send, _ func()) {
			f.Show = func(Traced) error { return errors.New("gone") }
			send()
		}, "", 0, false, 0},
		{"given up", func(_ *Follow, _, cancel func()) { cancel() }, "", 0, false, 0},
		{"over", func(f *Follow, _, _ func()) { f.For = time.Nanosecond }, "the time is over", 0, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			stopped, shown := 0, 0
			var sink func(Message)
			d := Daemon{Trace: func(_ uint64, to func(Message)) (func(), error) {
				sink = to
				return func() { stopped++ }, nil
			}}
			trace, err := d.Buffer(7, 2)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f := Follow{For: time.Hour, Every: time.Millisecond, Show: func(Traced) error { shown++; return nil }}
			test.do(&f, func() {
				for range 3 { // for two of which there is room
					sink(Message{Kind: wire.Request, In: true, Method: "save.put"})
				}
			}, cancel)
			last, ok := trace.Follow(ctx, f)
			if ok != test.ok || last.End != test.end || shown != test.n || ok && (last.Messages != test.n || last.Dropped != test.dropped || last.At.IsZero()) {
				t.Errorf("%v, %d shown, %+v", ok, shown, last)
			}
			if stopped != 1 {
				t.Errorf("it was stopped %d times", stopped)
			}
		})
	}
}
