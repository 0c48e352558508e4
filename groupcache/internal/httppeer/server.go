package httppeer

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/pbwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// Server answers peers over HTTP. It is safe for concurrent use.
type Server struct {
	// Local answers. Required.
	Local wire.Local
	// Has reports whether Local has a group. Required.
	Has func(group string) bool
	// BasePath is the path of requests from peers. Required.
	BasePath string
	// Context makes the context of a request; nil for the request's own.
	Context func(*http.Request) context.Context
	// Fail writes the answer to a request that failed: with the error of a Getter, a
	// BadRequestError, a NoGroupError, wire.ErrTooLarge or peer.ErrEnding. Required.
	Fail func(context.Context, http.ResponseWriter, *http.Request, error)
	// Signer checks who asks and proves who answers; nil for neither.
	Signer *Signer
	// RequireClientCert refuses what came without a verified certificate of a client.
	RequireClientCert bool
	// Frames has connections of peers that ask for it go on with frames.
	Frames bool

	sessions          sessions
	unsigned, refused atomic.Uint64
}

// Counts returns the requests without a signature that were accepted, and those that were not
// accepted.
func (s *Server) Counts() (unsigned, refused uint64) { return s.unsigned.Load(), s.refused.Load() }

// BadRequestError says that a request is not one of groupcache.
type BadRequestError struct{ Reason string }

// Error implements error.
func (e BadRequestError) Error() string { return e.Reason }

// NoGroupError says that there is no group of a name.
type NoGroupError struct{ Group string }

// Error implements error.
func (e NoGroupError) Error() string { return wire.ErrNoGroup.Error() }

const allowedMethods = "GET, PUT, DELETE, POST, OPTIONS"

// ServeHTTP answers a peer. A path that is not below the base path is answered with 404.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	escaped := r.URL.EscapedPath()
	if !strings.HasPrefix(escaped, s.BasePath) {
		w.WriteHeader(http.StatusNotFound) // plain, so that no peer takes it for a Getter's "not found"
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPost, http.MethodOptions:
	default:
		w.Header().Set("Allow", allowedMethods)
		refuseWith(w, http.StatusMethodNotAllowed, "")
		return
	}
	proof, err := s.authorised(r, escaped)
	if proof == nil {
		s.answer(w, r, escaped, nil, err)
		return
	}
	proving := s.Signer.Answer(w, proof)
	s.answer(proving, r, escaped, &proof.Digest, err)
	proving.Finish()
}

// answer answers a request that is known to come from a peer, unless there is an error. Its body
// must have the digest, if there is one.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, escaped string, digest *Digest, err error) {
	if err != nil {
		if r.ProtoMajor == 1 && r.ContentLength != 0 { // or net/http waits for the body of a stranger
			w.Header().Set("Connection", "close")
		}
		refuseWith(w, http.StatusUnauthorized, err.Error())
		return
	}
	switch {
	case escaped == s.BasePath && IsGreeting(r) && wantsUpgrade(r) && s.upgrade(w, r):
		return
	case r.Method == http.MethodOptions, escaped == s.BasePath && IsGreeting(r):
		s.greet(w, r)
		return
	case escaped == s.BasePath && IsTest(r):
		AnswerTest(w, r)
		return
	}
	s.dispatch(w, r, escaped, func(limit int64) ([]byte, bool) { return s.readBody(w, r, digest, limit) })
}

// readBody reads a body of so many bytes at most, and has answered if it returns false.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, digest *Digest, limit int64) ([]byte, bool) {
	var signs *wire.Signs
	if r.Method == http.MethodPost || IsLong(r) { // many keys, or a large value, may take their time to arrive
		signs = showLife(w, r)
	}
	body, err := ReadBody(w, r, limit)
	signs.Stop()
	switch {
	case errors.Is(err, ErrBodyTooLarge):
		refuseWith(w, http.StatusRequestEntityTooLarge, "")
	case err != nil:
		refuseWith(w, http.StatusRequestTimeout, "")
	case digest != nil && !digest.Of(body):
		s.refused.Add(1)
		refuseWith(w, http.StatusUnauthorized, "")
	default:
		return body, true
	}
	return nil, false
}

// refuseWith answers a request that is not taken for one of a peer, and says why.
func refuseWith(w http.ResponseWriter, code int, why string) {
	w.Header().Set(Marker, MarkerRefused)
	text := http.StatusText(code)
	if why != "" {
		text += ": " + why
	}
	http.Error(w, text, code)
}

// greet answers the greeting of a peer.
func (s *Server) greet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(Marker, MarkerValue)
	w.Header().Set("Allow", allowedMethods)
	g := s.Local.Greeting()
	if r.Header.Get(zoneHeader) == "" {
		g.Zone = ""
	}
	Greet(w.Header(), g)
	if s.takesFrames(w, r) {
		w.Header().Set(framesHeader, "1")
	}
	w.WriteHeader(http.StatusNoContent)
}

// bodyOverhead is how much larger than its value a request may be: it has the key, too.
const bodyOverhead = 64 << 10

var errNoCertificate = errors.New("the request came without a certificate")

// authorised finds out by the head of a request whether it comes from a peer, as far as that must
// be proved. With a proof the answer is proved, too, even if the request is refused.
func (s *Server) authorised(r *http.Request, escaped string) (*Proof, error) {
	if s.RequireClientCert && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		s.refused.Add(1)
		return nil, errNoCertificate
	}
	if s.Signer == nil {
		return nil, nil
	}
	proof, err := s.Signer.Check(r.Header, r.Method, strings.TrimPrefix(escaped, s.BasePath), time.Now())
	switch {
	case err == nil:
		return proof, nil
	case errors.Is(err, ErrUnsigned) && s.Signer.accept:
		if _, err := s.Signer.Verify(r.Header, r.Method, escaped, time.Now()); errors.Is(err, ErrBadSignature) {
			s.refused.Add(1)
			return nil, err
		}
		s.unsigned.Add(1)
		return nil, nil
	}
	s.refused.Add(1)
	return proof, err
}

// dispatch answers a request that comes from a peer. readBody reads its body of so many bytes at
// most, and has answered if it returns false.
//
//nolint:contextcheck // the user makes the context of a request
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, escaped string, readBody func(limit int64) ([]byte, bool)) {
	ctx := r.Context()
	if s.Context != nil {
		ctx = s.Context(r)
	}
	refuse := func(err error) {
		w.Header().Set(Marker, MarkerRefused)
		DiscardBody(w, r)
		s.Fail(ctx, WithStatus(w), r, err)
	}
	if r.Method == http.MethodDelete && escaped == s.BasePath {
		w.Header().Set(Marker, MarkerValue)
		s.Local.Forget()
		return
	}
	group, key, several, ok := s.split(r, escaped)
	if !ok {
		refuse(BadRequestError{"the path is not group/key"})
		return
	}
	if !s.Has(group) {
		refuse(NoGroupError{group})
		return
	}
	var body []byte
	if limit := s.bodyLimit(r.Method); limit > 0 {
		if body, ok = readBody(limit); !ok {
			return
		}
	}
	w.Header().Set(Marker, MarkerValue)
	if t := s.Local.Tracer(); t != nil {
		ctx = t.Extract(ctx, r.Header.Get)
	}
	var err error
	switch r.Method {
	case http.MethodGet:
		err = s.get(ctx, w, r, group, key)
	case http.MethodPost:
		err = several(ctx, w, r, group, key, body)
	case http.MethodPut:
		err = s.put(ctx, group, key, body)
	case http.MethodDelete:
		err = s.Local.Remove(ctx, group, key)
	}
	if errors.Is(err, wire.ErrNoGroup) { // it has just gone
		err = NoGroupError{group}
	}
	if err != nil {
		refuse(err)
	}
}

// split takes a path apart, and returns what answers a POST of it: a path of a group alone is no
// path of others.
func (s *Server) split(r *http.Request, escaped string) (group, key string, several posted, ok bool) {
	if group, key, ok = Split(s.BasePath, escaped); ok {
		return group, key, s.several, true
	}
	if r.Method == http.MethodPost {
		group, ok = splitGroup(s.BasePath, escaped)
	}
	return group, "", s.ofGroup, ok
}

// posted answers a POST.
type posted func(ctx context.Context, w http.ResponseWriter, r *http.Request, group, key string, body []byte) error

// bodyLimit is how many bytes the body of a request may have; without one it is not read.
func (s *Server) bodyLimit(method string) int64 {
	switch method {
	case http.MethodPut:
		return s.Local.MaxValueSize() + bodyOverhead
	case http.MethodPost:
		return multiwire.MaxRequest
	}
	return 0
}

// get answers a peer that asks for a key. The error is that the load was ended: no answer of the
// Getter, the peer asks elsewhere.
func (s *Server) get(ctx context.Context, w http.ResponseWriter, r *http.Request, group, key string) error {
	var signs *wire.Signs
	defer func() { signs.Stop() }() // if it panics: there is no answer to show signs on then
	a, err := s.Local.Get(ctx, group, key, func() { signs = showLife(w, r) })
	signs.Stop()
	switch {
	case err != nil:
		return err
	case a.Outcome == wire.Found:
		writeValue(w, a)
	default:
		s.Fail(ctx, WithStatus(w), r, a.Cause)
	}
	return nil
}

// put is what a peer's Set comes to.
func (s *Server) put(ctx context.Context, group, key string, body []byte) error {
	var in pbwire.SetRequest
	if err := in.Unmarshal(body); err != nil {
		return BadRequestError{"the body is no SetRequest"}
	}
	if in.Key != "" {
		key = in.Key
	}
	return s.Local.Set(ctx, group, key, string(in.Value), in.Expire)
}

// several answers a request with several keys: what it asks for stands in the place of the key.
func (s *Server) several(ctx context.Context, w http.ResponseWriter, r *http.Request, group, what string, body []byte) error {
	keys, err := multiwire.ParseRequest(body)
	if err != nil {
		return BadRequestError{"the body is no list of keys: " + err.Error()}
	}
	var answers []wire.Answer
	switch {
	case what == Offered && len(keys) > 0:
		if err := s.Local.Offer(ctx, group, keys[0], keys[1:]); err != nil {
			return BadRequestError{"the offer is not taken"}
		}
	case what == Removed:
		err = s.Local.Remove(ctx, group, keys...)
	case what == CachedOnly:
		answers, err = s.Local.GetCached(ctx, group, keys)
	default:
		signs := showLife(w, r)
		defer signs.Stop() // as in get
		answers, err = s.Local.GetMulti(ctx, group, keys)
		signs.Stop()
	}
	if err == nil {
		writeBody(w, multiwire.AppendAnswers(nil, answers))
	}
	return err
}

// ofGroup answers a POST of a group alone: a removal of all keys that begin with a prefix, or the
// question which keys were written lately.
func (s *Server) ofGroup(ctx context.Context, w http.ResponseWriter, _ *http.Request, group, _ string, body []byte) error {
	parts, err := multiwire.ParseRequest(body)
	if err == nil && len(parts) > 2 && parts[0] == written {
		return s.written(ctx, w, group, parts[1], parts[2:])
	}
	if err != nil || len(parts) != 3 {
		return BadRequestError{"the body is no removal by prefix"}
	}
	err = s.Local.Sweep(ctx, group, writes.Sweep{Phase: writes.Phase(parts[0]), ID: parts[1], Prefix: parts[2]})
	if errors.Is(err, wire.ErrRefused) {
		return BadRequestError{"the removal by prefix is not understood"}
	}
	if err == nil {
		writeBody(w, nil)
	}
	return err
}

// written answers which keys were set or removed within so many milliseconds.
func (s *Server) written(ctx context.Context, w http.ResponseWriter, group, within string, keys []string) error {
	ms, err := strconv.ParseInt(within, 10, 32)
	if err != nil {
		return BadRequestError{"the body has no time"}
	}
	answers, err := s.Local.Written(ctx, group, time.Duration(ms)*time.Millisecond, keys)
	if errors.Is(err, wire.ErrRefused) {
		return BadRequestError{"this process does not remember"}
	}
	if err == nil {
		writeBody(w, multiwire.AppendAnswers(nil, answers))
	}
	return err
}

// buffers of answers are used again.
var answerBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }} //nolint:gochecknoglobals // a pool of buffers is no state

func writeValue(w http.ResponseWriter, a wire.Answer) {
	buffer, _ := answerBuffers.Get().(*bytes.Buffer)
	buffer.Reset()
	b := pbwire.AppendGetResponse(buffer.AvailableBuffer(), a.Value, a.Expire)
	writeBody(w, b)
	if cap(b) <= keepBuffer {
		answerBuffers.Put(bytes.NewBuffer(b))
	}
}

func writeBody(w http.ResponseWriter, b []byte) {
	w.Header()["Content-Type"] = []string{ContentType}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	_, _ = w.Write(b) // the peer has gone: there is nobody to tell
}

// showLife begins to tell the peer that made the request that it is worked at, if it understands
// that, and that reaches it.
func showLife(w http.ResponseWriter, r *http.Request) *wire.Signs {
	if !WantsSigns(r) {
		return nil
	}
	return wire.StartSigns(func() error {
		w.WriteHeader(http.StatusProcessing)
		return nil
	})
}
