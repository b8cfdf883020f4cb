package ws

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"slices"
	"testing"
)

// FuzzDecoder holds the package's invariant: every cut in two, and one byte at a
// time, give the events of the whole.
func FuzzDecoder(f *testing.F) {
	for _, seed := range [][]byte{
		frame(finBinary, "hello"),
		join(frame(startBinary, "one"), frame(finPing, "p"), frame(finMore, "two"), closeFrame(1000, "bye")),
		join(frame(finPong, ""), frame(finClose, "")),
		frame(finBinary, string(make([]byte, 130))),
		{finBinary, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5},
		frame(finText, "no"), frame(0x92, "rsv"), frame(0x83, "reserved"), closeFrame(1005, ""), closeFrame(1000, "\xff"),
	} {
		f.Add(seed, 128)
	}
	f.Fuzz(func(t *testing.T, input []byte, limit int) {
		limit = max(0, min(limit, 1<<16))
		if len(input) > 1<<12 {
			return
		}
		whole := decode(t, bytes.Clone(input), max(1, len(input)), limit)
		if got := decode(t, bytes.Clone(input), 1, limit); !slices.Equal(got, whole) {
			t.Fatalf("a byte at a time: %v\nwhole: %v", got, whole)
		}
		for cut := 1; cut < min(len(input), 256); cut++ {
			if got := decodeCut(t, input, cut, limit); !slices.Equal(got, whole) {
				t.Fatalf("cut at %d: %v\nwhole: %v", cut, got, whole)
			}
		}
	})
}

// decodeCut is decode for input that comes in two pieces.
func decodeCut(t *testing.T, input []byte, cut, limit int) (events []string) {
	var d Decoder
	var kept []byte
	for _, piece := range [][]byte{input[:cut], input[cut:]} {
		kept = append(kept, piece...)
		for used := -1; used != 0 && len(kept) > 0; kept = kept[used:] {
			before := bytes.Clone(kept)
			ev, n, err := d.Next(kept, limit)
			if bad := (*ProtocolError)(nil); errors.As(err, &bad) {
				return append(events, shownError(bad))
			}
			if n == 0 && !bytes.Equal(before, kept) {
				t.Fatalf("half a frame was changed: %x to %x", before, kept)
			}
			if ev.Kind != None {
				events = append(events, shown(ev))
			}
			used = n
		}
	}
	return events
}

// FuzzUpgrade: a request is refused or upgraded, with a whole HTTP answer; it
// ends in one place however it comes; and what is upgraded here net/http takes
// for the same request.
func FuzzUpgrade(f *testing.F) {
	f.Add(example(), "https://play.example.com")
	f.Add(example("Origin: https://play.example.com"), "https://play.example.com")
	f.Add(example("-Connection", "Connection: keep-alive, Upgrade"), "*")
	f.Add(example("POST / HTTP/1.1"), "")
	f.Add(example("-Host", " x: y", "Content-Length: 3"), "")
	f.Add([]byte("GET\r\n\r\n"), "")
	f.Fuzz(func(t *testing.T, request []byte, origin string) {
		end := HeaderEnd(request)
		for n := range min(len(request), 2*MaxRequest) {
			if got := HeaderEnd(request[:n]); got != 0 && got != end || got == 0 && end != 0 && n >= end {
				t.Fatalf("an end at %d with %d bytes, at %d with all", got, n, end)
			}
		}
		if end != 0 {
			request = request[:end]
		}
		var origins []string
		if origin != "" {
			origins = []string{origin}
		}
		response, err := CheckUpgrade(request, origins)
		answer, parseErr := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), nil)
		if parseErr != nil {
			t.Fatalf("%v in %q", parseErr, response)
		}
		answer.Body.Close()
		if (err == nil) != (answer.StatusCode == http.StatusSwitchingProtocols) {
			t.Fatalf("%v with %q", err, response)
		}
		if err != nil {
			return
		}
		asked, parseErr := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
		if parseErr != nil {
			// net/http is stricter about paths and hosts, which do not matter here.
			return
		}
		if asked.Method != http.MethodGet || asked.Header.Get("Sec-Websocket-Version") != "13" || asked.ContentLength != 0 || len(asked.TransferEncoding) > 0 {
			t.Fatalf("net/http reads %q otherwise", request)
		}
		if o := asked.Header.Get("Origin"); origin != "" && origin != "*" && o != "" && !bytes.EqualFold([]byte(o), []byte(origin)) {
			t.Fatalf("a page of %q came in where %q may", o, origin)
		}
	})
}
