package tasks

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"go.uber.org/zap"

	"gameserverd/internal/game"
	"gameserverd/wire"
)

// busChannel is where the processes of one Redis tell each other what matters at once.
// Who misses a message learns it later, or does not need it.
const busChannel = "gameserverd:bus"

// The kinds of messages.
const (
	kindRevoke = "revoke" // Task is to stop
	kindPush   = "push"   // Player is to be notified, if online
	kindMail   = "mail"   // Player has a mail
	kindFilled = "filled" // Queue may have something to run
)

// message is one of them.
type message struct {
	Kind   string `msgpack:"k"`
	Task   string `msgpack:"t,omitempty"`
	Queue  string `msgpack:"q,omitempty"`
	Player uint64 `msgpack:"u,omitempty"`
	Method string `msgpack:"m,omitempty"`
	Body   []byte `msgpack:"b,omitempty"` // params, a MessagePack array; or a mail
	From   string `msgpack:"f,omitempty"` // the process that sends it, where that is not to have it
}

// BusHandler is what messages do in this process. Its functions may be nil, must not
// block, and are called on the bus's goroutine.
type BusHandler struct {
	Push func(uid uint64, method string, params []any)
	Mail func(uid uint64, m game.Mail) // of another process
}

// busQueue bounds the messages that wait for Redis; one more is dropped.
const busQueue = 8192

// bus is the channel, as this process uses it.
type bus struct {
	// immutable after newBus
	tasks *Tasks
	self  string
	alone bool // there are no other processes: Redis is not used
	out   chan message

	// any goroutine
	mu      sync.Mutex      // guards filling
	filling map[string]bool // queues that others were told of lately; true: and are to be again
}

func newBus(t *Tasks, alone bool) *bus {
	return &bus{tasks: t, self: rand.Text(), alone: alone, out: make(chan message, busQueue), filling: make(map[string]bool)}
}

// fillEvery is how often others are told at most that a queue has something.
const fillEvery = 10 * time.Millisecond

// filled tells the other processes that a queue may have something. Any goroutine.
func (b *bus) filled(queue string) {
	if b.alone {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, lately := b.filling[queue]; lately {
		b.filling[queue] = true
		return
	}
	b.filling[queue] = false
	b.publish(message{Kind: kindFilled, Queue: queue, From: b.self})
	time.AfterFunc(fillEvery, func() {
		b.mu.Lock()
		again := b.filling[queue]
		delete(b.filling, queue)
		b.mu.Unlock()
		if again {
			b.filled(queue)
		}
	})
}

// publish tells all processes, this one included. Any goroutine.
func (b *bus) publish(m message) {
	select {
	case b.out <- m:
	default:
		b.tasks.o.Log.Debug("a message to other processes was dropped: too many wait", zap.String("kind", m.Kind))
	}
}

// Push notifies uid on whichever process the player is online, at most once. Any
// goroutine.
func (t *Tasks) Push(uid uint64, method string, params ...any) error {
	body := wire.AppendArray(nil, len(params))
	for _, p := range params {
		var err error
		if body, err = wire.AppendAny(body, p); err != nil {
			return err
		}
	}
	t.bus.publish(message{Kind: kindPush, Player: uid, Method: method, Body: body})
	return nil
}

// TellMail tells the other processes, on one of which uid may be online, of a mail that
// this one has stored. Any goroutine.
func (t *Tasks) TellMail(uid uint64, m game.Mail) {
	body, err := msgpack.Marshal(&m)
	if err != nil {
		t.o.Log.Error("a mail cannot be told of", zap.Uint64("uid", uid), zap.Error(err))
		return
	}
	t.bus.publish(message{Kind: kindMail, Player: uid, Body: body, From: t.bus.self})
}

// run carries messages until Close.
func (b *bus) run() {
	t := b.tasks
	if b.alone {
		for {
			select {
			case m := <-b.out:
				b.do(m)
			case <-t.ctx.Done():
				return
			}
		}
	}
	client := t.o.Redis.Client()
	sub := client.Subscribe(t.ctx, busChannel) // connects when it can, and again when it has to
	defer sub.Close()
	t.loops.Go(func() {
		for {
			select {
			case m := <-b.out:
				b.send(m)
			case <-t.ctx.Done():
				return
			}
		}
	})
	in := sub.Channel()
	for {
		select {
		case got, open := <-in:
			if !open {
				return
			}
			b.receive([]byte(got.Payload))
		case <-t.ctx.Done():
			return
		}
	}
}

func (b *bus) send(m message) {
	data, err := msgpack.Marshal(&m)
	if err == nil {
		err = b.tasks.o.Redis.Client().Publish(b.tasks.ctx, busChannel, data).Err()
	}
	if err != nil {
		b.tasks.o.Log.Debug("a message to other processes was lost", zap.String("kind", m.Kind), zap.Error(err))
		pause := time.NewTimer(10 * time.Millisecond)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-b.tasks.ctx.Done():
		}
	}
}

// receive does what a message says; one that cannot be read is of a newer version.
func (b *bus) receive(data []byte) {
	var m message
	if err := wire.Unmarshal(data, &m); err != nil {
		b.tasks.o.Log.Debug("a message of another process cannot be read", zap.Error(err))
		return
	}
	b.do(m)
}

// do does what a message says.
func (b *bus) do(m message) {
	h := b.tasks.o.Bus
	switch {
	case m.Kind == kindFilled && m.From != b.self:
		b.tasks.gate.may(m.Queue)
	case m.Kind == kindRevoke:
		b.tasks.stopRun(ID(m.Task))
	case m.Kind == kindPush && h.Push != nil:
		var params []any
		if err := wire.Unmarshal(m.Body, &params); err == nil {
			h.Push(m.Player, m.Method, params)
		}
	case m.Kind == kindMail && h.Mail != nil && m.From != b.self:
		var mail game.Mail
		if err := wire.Unmarshal(m.Body, &mail); err == nil {
			h.Mail(m.Player, mail)
		}
	}
}
