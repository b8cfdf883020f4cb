package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

func ExampleDial() {
	addr, stop := demo()
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, addr) // "127.0.0.1:5700", "unix:/run/game.sock"
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	var sum int64
	if err := c.Call(ctx, "sum", &sum, 1, 2); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sum)
	// Output: 3
}

// Several calls on their way at once.
func ExampleClient_Go() {
	addr, stop := demo()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	var a, b int64
	first := c.Go(ctx, "sum", &a, 1, 2)
	second := c.Go(ctx, "sum", &b, 3, 4)
	if err := errors.Join(first.Wait(), second.Wait()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a, b)
	// Output: 3 7
}

func ExampleCodeOf() {
	addr, stop := demo()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	err = c.Call(ctx, "shop.buy", nil, "sword", 1)
	var e *client.Error
	switch {
	case err == nil:
		fmt.Println("bought")
	case client.CodeOf(err) == client.FailedPrecondition && errors.As(err, &e):
		fmt.Println("not enough gold:", e.Message)
	case errors.Is(err, client.ErrMayHaveRun):
		fmt.Println("the connection was lost: look whether it was bought")
	default:
		fmt.Println(err)
	}
	// Output: not enough gold: a sword costs 50, you have 20
}

// Rooms: join, hear what is said, and join again after a reconnect. The login needs no such care, the client repeats it.
func ExampleOn() {
	addr, stop := demo()
	defer stop()
	ctx := context.Background()

	rejoin := func(c *client.Client, again bool) {
		if !again {
			return
		}
		if err := c.Call(ctx, "room.join", nil, "lobby"); err != nil {
			fmt.Println("not in the lobby any more:", err)
		}
	}
	c, err := client.Dial(ctx, addr, client.WithOnConnect(rejoin))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	type Said struct { // the params, in order
		Room string
		UID  uint64
		Text string
		AtMS int64
	}
	heard := make(chan struct{})
	client.On(c, "room.said", func(ctx context.Context, s Said) {
		fmt.Printf("[%s] %d: %s\n", s.Room, s.UID, s.Text)
		close(heard)
	})

	me, err := c.Login(ctx, "dev:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("logged in as", me.UID)
	if err := c.Call(ctx, "room.join", nil, "lobby"); err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Call(ctx, "room.say", nil, "lobby", "hello"); err != nil {
		fmt.Println(err)
		return
	}
	<-heard
	// Output:
	// logged in as 7
	// [lobby] 7: hello
}

// The server asks, the client answers: here with the type of the only param.
func ExampleHandleFunc() {
	addr, stop := demo()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	client.HandleFunc(c, "duel.offer", func(ctx context.Context, from uint64) (bool, error) {
		if from == 666 {
			return false, client.Errorf(client.PermissionDenied, "I do not fight you")
		}
		return true, nil
	})

	var result struct {
		Accepted bool `msgpack:"accepted"`
	}
	if err := c.Call(ctx, "duel.challenge", &result, 9); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("accepted:", result.Accepted)
	// Output: accepted: true
}

// A handler that looks at the params itself.
func ExampleClient_Handle() {
	addr, stop := demo()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	c.Handle("duel.offer", func(r *client.Request) (any, error) {
		var from uint64
		if err := r.Decode(&from); err != nil {
			return nil, err
		}
		return from%2 == 1, nil
	})

	var result map[string]bool
	if err := c.Call(ctx, "duel.challenge", &result, 9); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result)
	// Output: map[accepted:true]
}

// demo is a server with the few methods that the examples use, for one connection. It challenges the challenger.
func demo() (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		p := &peer{nc: nc}
		for {
			m, err := p.read()
			if err != nil {
				return
			}
			if _, err := nc.Write(demoAnswer(p, m)); err != nil {
				return
			}
		}
	}()
	return l.Addr().String(), func() {
		l.Close()
		<-ended
	}
}

func demoAnswer(p *peer, m wire.Message) []byte {
	r := wire.NewReader(m.Params)
	r.Array()
	switch string(m.Method) {
	case "sum":
		x, _ := r.Int64()
		y, _ := r.Int64()
		return resultFrame(m.ID, x+y)
	case "auth.login":
		return resultFrame(m.ID, map[string]any{"uid": 7, "server_time_ms": 0, "heartbeat_ms": 30_000})
	case "room.join":
		return resultFrame(m.ID, map[string]any{"members": []any{7}})
	case "room.say":
		room, _ := r.String()
		text, _ := r.String()
		return append(notificationFrame("room.said", room, 7, text, 0), resultFrame(m.ID, nil)...)
	case "duel.challenge":
		if _, err := p.nc.Write(requestFrame(1, "duel.offer", 9)); err != nil {
			return nil
		}
		answer, err := p.read()
		if err != nil || answer.Err != nil {
			return errorFrame(m.ID, wire.ParseError(answer.Err))
		}
		return resultFrame(m.ID, map[string]any{"accepted": answer.Result})
	case "shop.buy":
		return errorFrame(m.ID, wire.Errorf(wire.FailedPrecondition, "a sword costs 50, you have 20"))
	}
	return errorFrame(m.ID, wire.Errorf(wire.Unimplemented, "no such method"))
}
