package httppeer

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/pbwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// Client is what all transports of a pool share.
type Client struct {
	// RoundTripper carries the requests of a context. Required.
	RoundTripper func(context.Context) http.RoundTripper
	// Upgrader carries requests of HTTP/1.1 that may go on with frames; nil for no frames.
	Upgrader func(context.Context) http.RoundTripper
	// Known says that these run nothing of the user's.
	Known bool
	// MaxValueSize bounds the values of answers, in bytes. Required.
	MaxValueSize int64
	// Zone is where this process is, empty for nowhere.
	Zone string
	// Signer signs the requests; nil leaves them unsigned.
	Signer *Signer
	// Tracer has traces carried in the headers of requests; nil for none.
	Tracer *tracing.Tracer

	buffers sync.Pool
	lines   lines
}

// Transport asks one peer over HTTP.
type Transport struct {
	client  *Client
	base    *url.URL
	path    string      // escaped, of base
	session *session    // of requests that are signed
	basic   string      // what proves the user of base to what asks for a password, empty without one
	ours    atomic.Bool // it has sent our mark, and no value without it since
	signs   atomic.Bool // signs of life are known to survive the way
	offered atomic.Bool // the last greeting has said that the peer takes frames
}

var _ wire.Transport = (*Transport)(nil)

// Dial makes a Transport to the peer whose groupcache is at base, such as
// http://example.net:8000/_groupcache/. Nothing is sent. A base that is no URL makes each request
// fail.
func (c *Client) Dial(base string) *Transport {
	u, err := url.Parse(base)
	if err != nil {
		u = &url.URL{Scheme: "invalid", Path: base}
	}
	return &Transport{client: c, base: u, path: u.EscapedPath(), basic: basic(u.User), session: newSession()}
}

// basic is the value of the header Authorization for a user (RFC 7617).
func basic(u *url.Userinfo) string {
	if u == nil {
		return ""
	}
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}

// request makes a request to a path below the base, already escaped.
func (t *Transport) request(ctx context.Context, method, below string, body []byte) (*http.Request, error) {
	escaped := t.path + below
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: t.base.Scheme, Host: t.base.Host, Path: path, RawPath: escaped}
	r := (&http.Request{
		Method: method, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{Marker: {MarkerValue}},
	}).WithContext(ctx)
	if body != nil {
		r.Header["Content-Type"] = []string{ContentType}
		r.ContentLength = int64(len(body))
		r.GetBody = func() (io.ReadCloser, error) { return bodyOf(ctx, body), nil }
		r.Body = bodyOf(ctx, body)
	}
	if t.basic != "" {
		r.Header["Authorization"] = []string{t.basic}
	}
	if !t.signs.Load() && t.ours.Load() {
		r.Header[quietHeader] = []string{"1"}
	}
	if t.client.Tracer != nil {
		t.client.Tracer.Inject(ctx, r.Header.Set)
	}
	if t.client.Signer != nil {
		r = r.WithContext(context.WithValue(ctx, signingKey{}, &signing{session: t.session, method: method, path: u.EscapedPath(), below: below, body: body}))
	}
	return r, nil
}

// send makes a request and returns the answer's head. Its body must be closed.
func (t *Transport) send(ctx context.Context, method, below string, body []byte) (*http.Response, error) {
	r, err := t.request(ctx, method, below, body)
	if err != nil {
		return nil, err
	}
	return t.do(r)
}

// do is send for a request that is made.
func (t *Transport) do(r *http.Request) (*http.Response, error) {
	response, err := t.client.roundTrip(t.client.RoundTripper, r)
	if err == nil && response.Header.Get(unprovedHeader) != "" {
		return nil, unproved(response)
	}
	if err == nil && isMarked(response) {
		t.ours.Store(true)
		restore(response)
	}
	return response, err
}

// roundTrip makes a request by a RoundTripper of the user's, whose panic is an error, and so is the
// end of its goroutine: requests are also made on goroutines of ours, which go on.
func (c *Client) roundTrip(by func(context.Context) http.RoundTripper, r *http.Request) (*http.Response, error) {
	if c.Known {
		return by(r.Context()).RoundTrip(r)
	}
	return observe.Sound("Options.Transport", func() (*http.Response, error) { //nolint:contextcheck // it is in the request
		return by(r.Context()).RoundTrip(r)
	})
}

// unproved is the error of an answer that nobody has proved.
func unproved(response *http.Response) error {
	defer discard(response)
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxMessage)) // what there is of it
	if neverPasses(response) {
		return fmt.Errorf("%w: %w: %s: %.200q", wire.ErrUnproved, wire.ErrUndeliverable, response.Status, text)
	}
	return fmt.Errorf("%w: %s: %.200q", wire.ErrUnproved, response.Status, text)
}

func keyPath(group, key string) string { return Escape(group) + "/" + Escape(key) }

// Get asks for a key.
func (t *Transport) Get(ctx context.Context, group, key string, alive func()) (wire.Answer, error) {
	response, err := t.send(t.watched(ctx, alive), http.MethodGet, keyPath(group, key), nil)
	if err != nil {
		return wire.Answer{}, err
	}
	defer discard(response)
	if response.StatusCode != http.StatusOK {
		return refusal(response)
	}
	if err := noValue(response); err != nil {
		return wire.Answer{}, err
	}
	answer := wire.Answer{Code: response.StatusCode, Status: response.Status, Marked: isMarked(response)}
	err = t.client.read(response, t.client.MaxValueSize, alive, func(body []byte) error {
		var got pbwire.GetResponse
		if err := got.Unmarshal(body); err != nil {
			return fmt.Errorf("%w: %w", wire.ErrForeign, err)
		}
		if int64(len(got.Value)) > t.client.MaxValueSize {
			return wire.ErrTooLarge
		}
		if answer.Marked && got.Value == nil { // ours always have one: this one was lost on its way
			return fmt.Errorf("%w: a message without a value", wire.ErrForeign)
		}
		answer.Value, answer.Expire = string(got.Value), got.Expire
		return nil
	})
	if err == nil && !answer.Marked { // one of the original has taken its place
		t.ours.Store(false)
	}
	return answer, err
}

// watched makes a context whose requests call alive when the peer says that it is loading.
func (t *Transport) watched(ctx context.Context, alive func()) context.Context {
	var l *life
	if s := t.client.Signer; s != nil && !s.accept {
		l = new(life)
		ctx = context.WithValue(ctx, lifeKey{}, l)
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			if l.proves(h) {
				alive()
			}
			return nil
		},
	})
}

// noValue tells why an answer with the status 200 is none of a group: a middleware may have
// replaced the status of any other, such as a Getter's error, whose text may even be a message.
// Values have their content type, at the original's peers, too.
func noValue(r *http.Response) error {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch {
	case r.Header.Get(Marker) == MarkerRefused:
		return fmt.Errorf("%w: refused, but with the status %s", wire.ErrForeign, r.Status)
	case strings.TrimSpace(kind) != ContentType:
		return fmt.Errorf("%w: %s with the content type %.100q", wire.ErrForeign, r.Status, kind)
	}
	return nil
}

func isMarked(r *http.Response) bool { return len(r.Header[Marker]) > 0 }

// refusal reads an answer without a value: that of the peer's Getter, or of something that is no
// peer.
func refusal(response *http.Response) (wire.Answer, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxMessage))
	if err != nil {
		return wire.Answer{}, err
	}
	message := strings.TrimSuffix(string(body), "\n")
	answer := wire.Answer{Outcome: wire.LoadFailed, Message: message, Code: response.StatusCode, Status: response.Status, Marked: isMarked(response)}
	if err := refused(response, message); err != nil {
		return answer, err
	}
	if response.StatusCode == http.StatusNotFound {
		answer.Outcome = wire.NotFound
	}
	return answer, nil
}

// noGroup begins the message of a peer that does not have the group.
const noGroup = "no such group: "

// notRouted is what http.NotFound says, which is no Getter's word.
const notRouted = "404 page not found"

// refused is the error of an answer that is not one of a Getter, nil if it is.
func refused(response *http.Response, message string) error {
	code := response.StatusCode
	if isMarked(response) {
		return refusedByOurs(response, message)
	}
	switch {
	case strings.HasPrefix(message, noGroup):
		return fmt.Errorf("%w: %s", wire.ErrNoGroup, response.Status)
	case message == notRouted:
		return fmt.Errorf("%w: %s: %.200q", wire.ErrForeign, response.Status, message)
	case isPlain(response) && (code == http.StatusNotFound || code == http.StatusServiceUnavailable):
		return nil
	case code == http.StatusRequestEntityTooLarge:
		return wire.ErrTooLarge
	case code == http.StatusUnauthorized:
		return fmt.Errorf("%w: %s: %.200q", wire.ErrRefused, response.Status, message)
	case code == http.StatusRequestURITooLong, code == http.StatusRequestHeaderFieldsTooLarge: // the key is too long; all others pass
		return fmt.Errorf("%w: %s: %.200q", wire.ErrUndeliverable, response.Status, message)
	}
	return fmt.Errorf("%w: %s: %.200q", wire.ErrForeign, response.Status, message)
}

func refusedByOurs(response *http.Response, message string) error {
	code := response.StatusCode
	switch {
	case response.Header.Get(Marker) != MarkerRefused:
		return nil
	case strings.HasPrefix(message, noGroup):
		return fmt.Errorf("%w: %s", wire.ErrNoGroup, response.Status)
	case code == http.StatusRequestEntityTooLarge:
		return wire.ErrTooLarge
	case code >= 400 && code < 500:
		return fmt.Errorf("%w: %s: %.200q", wire.ErrRefused, response.Status, message)
	}
	return fmt.Errorf("%w: %s: %.200q", wire.ErrForeign, response.Status, message)
}

// isPlain recognises an answer by http.Error, in which the original's peers report a Getter's
// errors.
func isPlain(r *http.Response) bool {
	return r.Header.Get("Content-Type") == "text/plain; charset=utf-8" && r.Header.Get("X-Content-Type-Options") == "nosniff"
}

// overhead is how much larger than its value an answer may be.
const overhead = 1 << 10

// read hands a body to use, in memory that is used again. A body above limit is an error.
func (c *Client) read(response *http.Response, limit int64, alive func(), use func([]byte) error) error {
	if response.ContentLength > limit+overhead {
		return wire.ErrTooLarge
	}
	buffer, ok := c.buffers.Get().(*bytes.Buffer)
	if !ok {
		buffer = new(bytes.Buffer)
	}
	defer func() {
		if buffer.Cap() <= keepBuffer {
			buffer.Reset()
			c.buffers.Put(buffer)
		}
	}()
	if n := response.ContentLength; n > 0 && n <= keepBuffer {
		buffer.Grow(int(n) + bytes.MinRead)
	}
	if _, err := buffer.ReadFrom(&lively{io.LimitReader(response.Body, limit+overhead+1), alive}); err != nil {
		return err
	}
	if int64(buffer.Len()) > limit+overhead {
		return wire.ErrTooLarge
	}
	return use(buffer.Bytes())
}

// keepBuffer is the largest buffer that is kept for the next answer.
const keepBuffer = 1 << 20

// Set stores a value at the peer.
func (t *Transport) Set(ctx context.Context, group, key, value string, expire int64, alive func()) error {
	body := pbwire.SetRequest{Group: group, Key: key, Value: []byte(value), Expire: expire}
	if len(value) >= longBody {
		ctx = context.WithValue(t.watched(ctx, alive), progress{}, alive)
	}
	return t.tell(ctx, http.MethodPut, keyPath(group, key), body.Marshal())
}

// Remove drops a key from the peer's caches.
func (t *Transport) Remove(ctx context.Context, group, key string) error {
	return t.tell(ctx, http.MethodDelete, keyPath(group, key), nil)
}

// RemoveMulti drops several keys, which travel in the body.
func (t *Transport) RemoveMulti(ctx context.Context, group string, keys []string) error {
	return t.tell(ctx, http.MethodPost, keyPath(group, Removed), multiwire.AppendRequest(nil, keys))
}

// Together implements wire.Transport.
func (*Transport) Together() bool { return true }

// Forget lets the peer drop all that it has: a DELETE of the base path.
func (t *Transport) Forget(ctx context.Context) error {
	return t.tell(ctx, http.MethodDelete, "", nil)
}

// tell makes a request that is answered by 200 and nothing else.
func (t *Transport) tell(ctx context.Context, method, below string, body []byte) error {
	response, err := t.send(ctx, method, below, body)
	if err != nil {
		return err
	}
	defer discard(response)
	if t.accepted(response) {
		return nil
	}
	return refusalOf(response)
}

// refusalOf is the error of an answer to a request that no Getter answers.
func refusalOf(response *http.Response) error {
	answer, err := refusal(response)
	if err != nil && !errors.Is(err, wire.ErrForeign) {
		return err
	}
	class := wire.ErrForeign
	if neverPasses(response) {
		class = wire.ErrUndeliverable
	}
	return fmt.Errorf("%w: %s: %.200q", class, answer.Status, answer.Message)
}

// accepted reports whether an answer is that of a peer which has done what it was told: it has no
// body, and our mark if the peer is one of ours. A middleware may have replaced the status of a
// refusal, and what answers all that is not routed may have the same one.
func (t *Transport) accepted(r *http.Response) bool {
	switch {
	case r.StatusCode < 200 || r.StatusCode > 299, r.Header.Get(Marker) == MarkerRefused:
		return false
	case !isMarked(r) && (t.ours.Load() || r.StatusCode != http.StatusOK):
		return false
	}
	n, err := io.ReadFull(r.Body, make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// neverPasses says of an answer that is not a peer's of ours that the same request will have it
// again: something on the way does not let its method, its address or its length through. Those
// left out are a matter of time, or of the server's state.
func neverPasses(r *http.Response) bool {
	if isMarked(r) {
		return false
	}
	switch code := r.StatusCode; code {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return true
	default:
		return code >= 200 && code < 500 // 200 and the like: something else is there
	}
}

// Greet says in the head of the answer to a probe what answers it.
func Greet(h http.Header, g wire.Greeting) {
	if g.Ring != "" {
		h.Set(ringHeader, g.Ring)
	}
	if g.RingInUse {
		h.Set(ringUsedHeader, "1")
	}
	if g.Zone != "" {
		h.Set(zoneHeader, g.Zone)
	}
}

// errForeignProbe says that a probe was answered by something that is no groupcache.
var errForeignProbe = errors.New("the probe was answered by something else")

// IsGreeting reports whether a request asks what serves the base path.
func IsGreeting(r *http.Request) bool {
	return r.Method == http.MethodOptions || r.Method == http.MethodGet && len(r.Header[greetingHeader]) > 0
}

// Probe asks what serves the base path. Peers of ours answer with our mark, older ones that this is
// no request of theirs. What does not prove who it is may be a router that has no OPTIONS: where
// GET alone is mounted, a GET asks.
func (t *Transport) Probe(ctx context.Context) (wire.Greeting, error) {
	g, err := t.greet(ctx, http.MethodOptions)
	if errors.Is(err, wire.ErrUnproved) {
		if byGet, errGet := t.greet(ctx, http.MethodGet); errGet == nil && byGet.Marked {
			return byGet, nil
		}
	}
	return g, err
}

func (t *Transport) greet(ctx context.Context, method string) (wire.Greeting, error) {
	r, err := t.request(ctx, method, "", nil)
	if err != nil {
		return wire.Greeting{}, err
	}
	if method == http.MethodGet {
		r.Header.Set(greetingHeader, "1")
	}
	if t.client.Zone != "" {
		r.Header.Set(zoneHeader, t.client.Zone)
	}
	response, err := t.do(r)
	if err != nil {
		return wire.Greeting{}, err
	}
	defer discard(response)
	h := response.Header
	g := wire.Greeting{Marked: isMarked(response), Ring: h.Get(ringHeader), RingInUse: h.Get(ringUsedHeader) != "", Zone: h.Get(zoneHeader)}
	t.offered.Store(g.Marked && h.Get(framesHeader) != "")
	if !g.Marked && response.StatusCode >= http.StatusInternalServerError {
		return g, fmt.Errorf("%w: %s", errForeignProbe, response.Status)
	}
	return g, nil
}

// Close does nothing: idle connections belong to the RoundTripper.
func (t *Transport) Close() {}

// answersLimit is how long the body of the answers to so many keys may be.
func (c *Client) answersLimit(keys int) int64 {
	return c.MaxValueSize + multiwire.MaxAnswer + int64(keys)*entryOverhead
}
