package httppeer

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

// The way to a peer may have middlewares and proxies that do not let signs of life (102 Processing) through, take them for the status of the answer, or
// route some methods only. A greeting finds out: a GET that is answered by a sign and then by a status that no value has, and a POST with a body.

const (
	testedStatus = http.StatusNotFound
	testedBody   = "test"
)

// IsTest says that a request of the base path is a test of the way.
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
	if r.ProtoAtLeast(1, 1) {
		w.WriteHeader(http.StatusProcessing)
	}
	http.Error(w, http.StatusText(testedStatus), testedStatus)
}

// WantsSigns says that the peer that makes a request understands signs of life, and that they reach it.
func WantsSigns(r *http.Request) bool {
	return len(r.Header[Marker]) > 0 && len(r.Header[quietHeader]) == 0 && r.ProtoAtLeast(1, 1)
}

// test makes a request of the base path, and says whether a peer of ours has got it as it was sent, and which status it has answered with.
func (t *Transport) test(ctx context.Context, method string, body []byte) (arrived bool, status int) {
	r, err := t.request(ctx, method, "", body)
	if err != nil {
		return false, 0
	}
	r.Header.Set(pathHeader, "test")
	response, err := t.client.RoundTripper(ctx).RoundTrip(r)
	if err != nil {
		return false, 0
	}
	defer discard(response)
	return isMarked(response) && response.Header.Get(pathHeader) == strconv.Itoa(len(body)), response.StatusCode
}

// explore adds to a greeting what reaches the peer, and what comes back.
func (t *Transport) explore(ctx context.Context, g *peer.Greeting) {
	signs := 0
	arrived, status := t.test(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			signs++
			return nil
		},
	}), http.MethodGet, nil)
	g.Marked = g.Marked || arrived
	g.Signs = arrived && signs > 0 && status == testedStatus
	posted, status := t.test(ctx, http.MethodPost, []byte(testedBody))
	g.Batches = posted && status == http.StatusOK
	t.signs.Store(g.Signs)
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
