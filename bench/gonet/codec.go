package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// headerLen is the size of the big-endian length before each message.
const headerLen = 4

// maxFrame bounds a message, so that a peer cannot make a server buffer more.
const maxFrame = 1 << 20

const (
	request      = 0
	response     = 1
	notification = 2
)

var (
	errTooLarge = errors.New("frame too large")
	errMessage  = errors.New("not a MessagePack-RPC message")
	errParams   = errors.New("sum takes two integers")
)

// frameLen reads a frame header.
func frameLen(header []byte) (int, error) {
	n := binary.BigEndian.Uint32(header)
	if n > maxFrame {
		return 0, errTooLarge
	}
	return int(n), nil
}

type method func(params []any) (any, error)

var methods = map[string]method{"sum": sum}

func sum(params []any) (any, error) {
	if len(params) != 2 {
		return nil, errParams
	}
	x, okX := integer(params[0])
	y, okY := integer(params[1])
	if !okX || !okY {
		return nil, errParams
	}
	return x + y, nil
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), true
	}
	return 0, false
}

// output is the io.Writer and io.ByteWriter that the encoder appends to.
type output []byte

func (o *output) Write(p []byte) (int, error) { *o = append(*o, p...); return len(p), nil }
func (o *output) WriteByte(b byte) error      { *o = append(*o, b); return nil }

// codec serves messages: one in, its reply frame out, through msgpack/v5 with a
// reused decoder and encoder, params decoded generically to []any. It is for one goroutine at a time.
type codec struct {
	in  bytes.Reader
	out output
	dec *msgpack.Decoder
	enc *msgpack.Encoder
}

func newCodec() *codec {
	c := &codec{}
	c.dec = msgpack.NewDecoder(&c.in)
	c.dec.UseLooseInterfaceDecoding(true)
	c.enc = msgpack.NewEncoder(&c.out)
	c.enc.UseCompactInts(true)
	return c
}

// serve calls the method that the message body asks for and appends the reply
// frame, if the message was a request, to dst. An error means that the peer
// broke the protocol.
func (c *codec) serve(dst, body []byte) ([]byte, error) {
	c.in.Reset(body)
	n, err := c.dec.DecodeArrayLen()
	if err != nil {
		return dst, err
	}
	kind, err := c.dec.DecodeInt()
	if err != nil {
		return dst, err
	}
	var id uint32
	switch {
	case kind == request && n == 4:
		if id, err = c.dec.DecodeUint32(); err != nil {
			return dst, err
		}
	case kind == notification && n == 3:
	default:
		return dst, errMessage
	}
	name, err := c.dec.DecodeString()
	if err != nil {
		return dst, err
	}
	params, err := c.dec.DecodeSlice()
	if err != nil {
		return dst, err
	}
	if c.in.Len() != 0 {
		return dst, errMessage
	}

	var result any
	if call, ok := methods[name]; ok {
		result, err = call(params)
	} else {
		err = fmt.Errorf("unknown method %q", name)
	}
	if kind == notification {
		return dst, nil
	}
	return c.reply(dst, id, result, err)
}

func (c *codec) reply(dst []byte, id uint32, result any, failure error) ([]byte, error) {
	start := len(dst)
	c.out = append(dst, 0, 0, 0, 0)
	err := errors.Join(c.enc.EncodeArrayLen(4), c.enc.EncodeInt(response), c.enc.EncodeUint(uint64(id)))
	if failure != nil {
		err = errors.Join(err, c.enc.EncodeString(failure.Error()), c.enc.EncodeNil())
	} else {
		err = errors.Join(err, c.enc.EncodeNil(), c.enc.Encode(result))
	}
	dst, c.out = c.out, nil
	if err != nil {
		return dst[:start], err
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-headerLen))
	return dst, nil
}
