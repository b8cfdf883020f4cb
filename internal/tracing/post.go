package tracing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// post is the way to the endpoint. It remembers how the last request ended, which
// the exporter's errors do not tell. One request at a time.
type post struct {
	to        *url.URL
	transport *http.Transport
	status    int     // 0: there was no answer
	got       receipt // with a status that says that it was taken
}

// receipt is what an endpoint says of a batch that it has taken.
type receipt struct {
	refused uint64 // spans of it
	says    string // why, or something that it wants to be known
	wrong   error  // this is no receipt: nobody knows what has become of the spans
}

// maxReceipt bounds what is read of an answer, in bytes, and maxSays what is logged.
const (
	maxReceipt = 64 << 10
	maxSays    = 256
)

// RoundTrip sends a request to exactly where the configuration says. It reads the
// receipt, so that an answer which says that the batch was taken has no body behind it.
func (p *post) RoundTrip(r *http.Request) (*http.Response, error) {
	p.status, p.got = 0, receipt{}
	r = r.Clone(r.Context())
	to := *p.to
	if user := to.User; user != nil {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
		to.User = nil
	}
	r.URL = &to
	resp, err := p.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	p.status = resp.StatusCode
	if p.status/100 != 2 {
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReceipt))
	_ = resp.Body.Close() // what it has is read, or not worth it
	if err == nil {
		p.got, err = parseReceipt(resp.Header.Get("Content-Type"), body)
	}
	if err != nil {
		p.got = receipt{wrong: fmt.Errorf("the endpoint answers %d %s with %w", p.status, http.StatusText(p.status), err)}
	}
	resp.Body, resp.ContentLength = http.NoBody, 0
	return resp, nil
}

// parseReceipt reads the body of an answer. Those that say nothing, or nothing that
// OTLP has a form for, have taken all: not every receiver keeps to it. A web page is
// from somebody else, mostly a proxy.
func parseReceipt(contentType string, body []byte) (got receipt, err error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = "" // which is no worse than none
	}
	var reply collector.ExportTraceServiceResponse
	switch {
	case len(body) == 0:
		return got, nil
	case kind == "application/x-protobuf":
		err = proto.Unmarshal(body, &reply)
	case kind == "application/json":
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, &reply)
	case kind == "text/html", bytes.HasPrefix(bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 512)])), []byte("<!doctype html")):
		return got, errors.New("a web page")
	default:
		return got, nil
	}
	if err != nil {
		return got, fmt.Errorf("what is no %s of OTLP", kind)
	}
	part := reply.GetPartialSuccess()
	got.refused = uint64(max(part.GetRejectedSpans(), 0))
	got.says = part.GetErrorMessage()
	got.says = got.says[:min(len(got.says), maxSays)]
	return got, nil
}

// later reports whether the same request may be taken another time.
func (p *post) later() bool {
	return p.status == 0 || p.status == http.StatusTooManyRequests || p.status == http.StatusRequestTimeout || p.status >= 500
}
