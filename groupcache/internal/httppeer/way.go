package httppeer

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strconv"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// The way to a peer may have middlewares and proxies that do not let signs of life (102 Processing)
// through, take them for the status of the answer, or route some methods only. A greeting finds
// out: a GET that is answered by a sign and then by a status that no value has, and a POST with a
// body.

const (
	testedStatus = http.StatusNotFound
	testedBody   = "test"
)

// IsTest reports whether a request of the base path is a test of the way.
func IsTest(r *http.Request) bool { return len(r.Header[pathHeader]) > 0 }

// AnswerTest answers a test of the way.
func AnswerTest(w http.ResponseWriter, r *http.Request) {
	body, err := ReadBody(w, r, 2*int64(len(testedBody)))
	if err != nil {
		body = nil
	}
	w.Header().Set(Marker, MarkerValue)
	w.Header().Set(pathHeader, strconv.Itoa(len(body)))
	if r.Method == http.MethodPost {
		return
	}
	if r.ProtoAtLeast(1, 1) && !keepsBack(w) {
		w.WriteHeader(http.StatusProcessing)
	}
	http.Error(w, http.StatusText(testedStatus), testedStatus)
}

// keepsBack reports whether a writer is that of http.TimeoutHandler, which keeps all back until the
// end. It takes a sign for the status of the answer, and complains of the real one in the server's
// log.
func keepsBack(w http.ResponseWriter) bool {
	for w != nil {
		if reflect.TypeOf(w).String() == "*http.timeoutWriter" {
			return true
		}
		wrapped, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = wrapped.Unwrap()
	}
	return false
}

// WantsSigns reports whether the peer that makes a request understands signs of life, and they
// reach it.
func WantsSigns(r *http.Request) bool {
	return len(r.Header[Marker]) > 0 && len(r.Header[quietHeader]) == 0 && r.ProtoAtLeast(1, 1)
}

// tested is what came of a test of the way.
type tested struct {
	late    bool // no answer came in time
	broken  bool // the connection ended without an answer: by the fault of the request, or by chance
	arrived bool // a peer of ours has got it as it was sent
	status  int
}

func (x tested) passage(passes bool) wire.Passage {
	switch {
	case x.late:
		return wire.Untested
	case x.arrived && passes:
		return wire.Passes
	default:
		return wire.Blocked
	}
}

// test makes a request of the base path.
func (t *Transport) test(ctx context.Context, method string, body []byte) tested {
	r, err := t.request(ctx, method, "", body)
	if err != nil {
		return tested{broken: true}
	}
	r.Header.Set(pathHeader, "test")
	response, err := t.client.roundTrip(t.client.RoundTripper, r)
	if err != nil {
		late := ctx.Err() != nil || observe.IsTimeout(err)
		return tested{late: late, broken: !late}
	}
	defer discard(response)
	status := response.StatusCode
	if with, ok := r.Context().Value(signingKey{}).(*signing); ok {
		status = with.status
	}
	return tested{arrived: isMarked(response) && response.Header.Get(pathHeader) == strconv.Itoa(len(body)), status: status}
}

// Explore implements wire.Transport.
func (t *Transport) Explore(ctx context.Context) (w wire.Way) {
	if !t.ours.Load() {
		return w
	}
	var signs atomic.Int64 // they may come when this has given up
	got := t.test(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			signs.Add(1)
			return nil
		},
	}), http.MethodGet, nil)
	posted := t.test(ctx, http.MethodPost, []byte(testedBody))
	w = wire.Way{
		Marked:  got.arrived,
		Signs:   got.passage(signs.Load() > 0 && got.status == testedStatus),
		Batches: posted.passage(posted.status == http.StatusOK),
		Sure:    !got.late && !got.broken && !posted.late && !posted.broken,
	}
	if w.Signs != wire.Untested {
		t.signs.Store(w.Signs == wire.Passes)
	}
	return w
}

// WithStatus makes a writer that notes the status of an answer in its head, too.
func WithStatus(w http.ResponseWriter) http.ResponseWriter { return noting{w} }

type noting struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (n noting) WriteHeader(status int) {
	if status >= http.StatusOK {
		n.Header().Set(statusHeader, strconv.Itoa(status))
	}
	n.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (n noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// restore gives an answer of ours the status that it was sent with.
func restore(r *http.Response) {
	if code, err := strconv.Atoi(r.Header.Get(statusHeader)); err == nil && isMarked(r) && code != r.StatusCode && code > http.StatusOK && code < 600 {
		r.StatusCode, r.Status = code, strconv.Itoa(code)+" "+http.StatusText(code)
	}
}
