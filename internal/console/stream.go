package console

import (
	"encoding/json"
	"net/http"
	"time"
)

// eventTime is how long a browser may take for one event.
const eventTime = 5 * time.Second

// stream is an answer of server-sent events.
type stream struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
}

// begin sends the head. A stream has no time of its own; each event has.
func begin(w http.ResponseWriter) stream {
	s := stream{w, http.NewResponseController(w)}
	_ = s.ctl.SetReadDeadline(time.Time{}) // a writer without deadlines has none to lift
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
	w.WriteHeader(http.StatusOK)
	_ = s.ctl.SetWriteDeadline(time.Now().Add(eventTime))
	_ = s.ctl.Flush() // the first event says if the browser has gone
	return s
}

// raw sends one event whose data is a line of JSON; an error means that nobody reads
// any more.
func (s stream) raw(event string, data []byte) error {
	_ = s.ctl.SetWriteDeadline(time.Now().Add(eventTime))
	b := make([]byte, 0, len(data)+len(event)+16)
	b = append(append(append(b, "event: "...), event...), "\ndata: "...)
	b = append(append(b, data...), "\n\n"...)
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.ctl.Flush()
}

func (s stream) send(event string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.raw(event, b)
}
