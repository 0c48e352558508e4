package groupcache

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/pbwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

// DefaultServerErrorHandler answers 404 for an ErrNotFound, 400 for a bad request, 500 for a group that this process does not have or
// that is being closed, 413 for a value that is too large, and 503 for all other errors, as the original's peers expect it, with the error's
// text.
func DefaultServerErrorHandler(_ context.Context, w http.ResponseWriter, _ *http.Request, err error) {
	code := http.StatusServiceUnavailable
	switch {
	case errors.As(err, new(BadGroupcacheRequestError)):
		code = http.StatusBadRequest
	case errors.As(err, new(GroupNotFoundError)), errors.Is(err, ErrClosed):
		code = http.StatusInternalServerError
	case errors.Is(err, &ErrNotFound{}):
		code = http.StatusNotFound
	case errors.Is(err, ErrValueTooLarge):
		code = http.StatusRequestEntityTooLarge
	}
	http.Error(w, err.Error(), code)
}

const allowedMethods = "GET, PUT, DELETE, POST, OPTIONS"

// ServeHTTP answers a peer: from the caches, or by the Getter. It never asks another peer. A path that is not below the base path is
// answered with 404.
func (p *HTTPPool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	escaped := r.URL.EscapedPath()
	if !strings.HasPrefix(escaped, p.basePath()) {
		w.WriteHeader(http.StatusNotFound) // plain, so that no peer takes it for a Getter's "not found"
		return
	}
	refuse := func(code int) { refuseWith(w, code, "") }
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPost, http.MethodOptions:
	default:
		w.Header().Set("Allow", allowedMethods)
		refuse(http.StatusMethodNotAllowed)
		return
	}
	proof, err := p.authorised(r, escaped)
	if proof == nil {
		p.answer(w, r, escaped, nil, err)
		return
	}
	proving := p.signer.Answer(w, proof)
	p.answer(proving, r, escaped, &proof.Digest, err)
	proving.Finish()
}

// answer answers what is known to come from a peer, unless there is an error. Its body must have the digest, if there is one.
func (p *HTTPPool) answer(w http.ResponseWriter, r *http.Request, escaped string, digest *httppeer.Digest, err error) {
	refuse := func(code int) { refuseWith(w, code, "") }
	if err != nil {
		if r.ProtoMajor == 1 && r.ContentLength != 0 { // or net/http waits for the body of a stranger
			w.Header().Set("Connection", "close")
		}
		refuseWith(w, http.StatusUnauthorized, err.Error())
		return
	}
	switch {
	case r.Method == http.MethodOptions, escaped == p.basePath() && httppeer.IsGreeting(r):
		p.greet(w)
		return
	case escaped == p.basePath() && httppeer.IsTest(r):
		httppeer.AnswerTest(w, r)
		return
	}
	p.dispatch(w, r, escaped, func(limit int64) ([]byte, bool) {
		var s *peer.Signs
		if r.Method == http.MethodPost || httppeer.IsLong(r) { // many keys, or a large value, may take their time to arrive
			s = showLife(w, r)
		}
		body, err := httppeer.ReadBody(w, r, limit)
		s.Stop()
		switch {
		case errors.Is(err, httppeer.ErrBodyTooLarge):
			refuse(http.StatusRequestEntityTooLarge)
		case err != nil:
			refuse(http.StatusRequestTimeout)
		case digest != nil && !digest.Of(body):
			p.refused.Add(1)
			refuse(http.StatusUnauthorized)
		default:
			return body, true
		}
		return nil, false
	})
}

// refuseWith answers what is not taken for a request of a peer, and says why.
func refuseWith(w http.ResponseWriter, code int, why string) {
	w.Header().Set(httppeer.Marker, httppeer.MarkerRefused)
	text := http.StatusText(code)
	if why != "" {
		text += ": " + why
	}
	http.Error(w, text, code)
}

// greet answers a peer that asks what is here.
func (p *HTTPPool) greet(w http.ResponseWriter) {
	w.Header().Set(httppeer.Marker, httppeer.MarkerValue)
	w.Header().Set("Allow", allowedMethods)
	httppeer.Greet(w.Header(), p.greeting())
	w.WriteHeader(http.StatusNoContent)
}

// bodyOverhead is how much larger than its value a request may be: it has the key, too.
const bodyOverhead = 64 << 10

// authorised finds out by the head of a request whether it comes from a peer, as far as that must be proved. With a proof the answer is proved, too,
// and be it that the request is refused.
func (p *HTTPPool) authorised(r *http.Request, escaped string) (*httppeer.Proof, error) {
	if p.options.RequireClientCert && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		p.refused.Add(1)
		return nil, errNoCertificate
	}
	if p.signer == nil {
		return nil, nil
	}
	proof, err := p.signer.Check(r.Header, r.Method, strings.TrimPrefix(escaped, p.basePath()), time.Now())
	switch {
	case err == nil:
		return proof, nil
	case errors.Is(err, httppeer.ErrUnsigned) && p.options.Auth == AuthAccept:
		if _, err := p.signer.Verify(r.Header, r.Method, escaped, time.Now()); errors.Is(err, httppeer.ErrBadSignature) {
			p.refused.Add(1)
			return nil, err
		}
		p.unsigned.Add(1)
		return nil, nil
	}
	p.refused.Add(1)
	return proof, err
}

var errNoCertificate = errors.New("the request came without a certificate")

// dispatch answers a request that comes from a peer.
// readBody reads its body of so many bytes at most, and has answered if it returns false.
//
//nolint:contextcheck // the user makes the context of a request
func (p *HTTPPool) dispatch(w http.ResponseWriter, r *http.Request, escaped string, readBody func(limit int64) ([]byte, bool)) {
	ctx := r.Context()
	if p.options.Context != nil {
		ctx = p.options.Context(r)
	}
	refuse := func(err error) {
		w.Header().Set(httppeer.Marker, httppeer.MarkerRefused)
		httppeer.DiscardBody(w, r)
		p.options.ServerErrorHandler(ctx, httppeer.WithStatus(w), r, err)
	}
	if r.Method == http.MethodDelete && escaped == p.basePath() {
		w.Header().Set(httppeer.Marker, httppeer.MarkerValue)
		p.instance.forget()
		return
	}
	name, key, ok := httppeer.Split(p.basePath(), escaped)
	if !ok {
		refuse(BadGroupcacheRequestError{"the path is not group/key"})
		return
	}
	g := p.instance.Group(name)
	if g == nil {
		refuse(GroupNotFoundError{name})
		return
	}
	var body []byte
	if limit := p.bodyLimit(r.Method); limit > 0 {
		if body, ok = readBody(limit); !ok {
			return
		}
	}
	w.Header().Set(httppeer.Marker, httppeer.MarkerValue)
	if p.instance.tracer != nil {
		ctx = p.instance.tracer.Extract(ctx, r.Header.Get)
	}
	var err error
	switch r.Method {
	case http.MethodGet:
		err = p.answerGet(ctx, w, r, g, key)
	case http.MethodPost:
		err = g.answerMulti(ctx, w, r, key, body)
	case http.MethodPut:
		err = g.put(ctx, key, body)
	case http.MethodDelete:
		g.answerRemove(ctx, key)
	}
	if err != nil {
		refuse(err)
	}
}

// bodyLimit is how many bytes the body of a request may have; without one it is not read.
func (p *HTTPPool) bodyLimit(method string) int64 {
	switch method {
	case http.MethodPut:
		return p.options.MaxValueSize + bodyOverhead
	case http.MethodPost:
		return multiwire.MaxRequest
	}
	return 0
}

// put is what a peer's Set comes to.
func (g *Group) put(ctx context.Context, key string, body []byte) error {
	var in pbwire.SetRequest
	if err := in.Unmarshal(body); err != nil {
		return BadGroupcacheRequestError{"the body is no SetRequest"}
	}
	if in.Key != "" {
		key = in.Key
	}
	if int64(len(in.Value)) > g.instance.maxValueSize() {
		return ErrValueTooLarge
	}
	g.answerSet(ctx, key, ByteView{string(in.Value), in.Expire})
	return nil
}

// answerGet answers a peer that asks for a key. The error is that Close has ended the load: no answer of the Getter, the peer asks elsewhere.
func (p *HTTPPool) answerGet(ctx context.Context, w http.ResponseWriter, r *http.Request, g *Group, key string) error {
	var s *peer.Signs
	v, err := g.answer(ctx, key, func() { s = showLife(w, r) })
	s.Stop()
	switch {
	case err == nil:
		writeValue(w, v)
	case errors.Is(err, ErrClosed):
		return ErrClosed
	default:
		p.options.ServerErrorHandler(ctx, httppeer.WithStatus(w), r, err)
	}
	return nil
}

// answers are buffers that are used again.
var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }} //nolint:gochecknoglobals // a pool of buffers is no state

// keepAnswer is the largest buffer that is kept for the next answer.
const keepAnswer = 1 << 20

func writeValue(w http.ResponseWriter, v ByteView) {
	buffer, _ := answers.Get().(*bytes.Buffer)
	buffer.Reset()
	b := pbwire.AppendGetResponse(buffer.AvailableBuffer(), v.s, v.expire)
	writeBody(w, b)
	if cap(b) <= keepAnswer {
		answers.Put(bytes.NewBuffer(b))
	}
}

func writeBody(w http.ResponseWriter, b []byte) {
	w.Header()["Content-Type"] = []string{httppeer.ContentType}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	_, _ = w.Write(b) // the peer has gone: there is nobody to tell
}

// showLife begins to tell the peer that made the request that it is worked at, if it understands that, and that reaches it.
func showLife(w http.ResponseWriter, r *http.Request) *peer.Signs {
	if !httppeer.WantsSigns(r) {
		return nil
	}
	return peer.StartSigns(func() error {
		w.WriteHeader(http.StatusProcessing)
		return nil
	})
}
