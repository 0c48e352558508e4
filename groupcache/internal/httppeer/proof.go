package httppeer

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A request proves by its head who asks: HMAC-SHA256 (RFC 2104) with the shared secret over its
// method, its path below the base path, the time, the session and the number in it, the process it
// is meant for, and the SHA-256 of its body. The answer proves who answers, by another over the
// request's, its own status, its body's SHA-256, and the headers that mean something. So do signs
// of life. None of it hides anything: that is for TLS.

const (
	proofHeader  = "X-Holdfast-Proof"
	lifeHeader   = "X-Holdfast-Life" // of signs of life
	proofVersion = "2"
	noTarget     = "-"
)

// ErrReplayed and ErrTarget are errors of requests that come from a peer, but were taken before, or
// are not meant for this process.
var (
	ErrReplayed = errors.New("the request was taken before, or given up by its sender")
	ErrTarget   = errors.New("the request is not meant for this process, or for the one that was here before")
)

// Proof is what a request has proved.
type Proof struct {
	Digest Digest // that its body must have
	mac    string
	client string // the session that it belongs to
}

func (s *Signer) macOf(what string, parts ...string) string {
	m := hmac.New(sha256.New, s.secret)
	_, _ = io.WriteString(m, "holdfast groupcache "+what+" "+proofVersion+"\n")
	for _, part := range parts {
		_, _ = io.WriteString(m, part)
		_, _ = m.Write([]byte{'\n'}) // none of them has one
	}
	return hex.EncodeToString(m.Sum(nil))
}

func hexDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Check finds out by the head of a request who asks. There is a Proof if that is a peer, whether it
// is to be answered or not; its answer is to be proved.
func (s *Signer) Check(h http.Header, method, below string, now time.Time) (*Proof, error) {
	f := strings.Split(h.Get(proofHeader), " ")
	if len(f) == 1 {
		return nil, ErrUnsigned
	}
	if len(f) != 8 || f[0] != proofVersion || !hmac.Equal([]byte(f[7]), []byte(s.macOf("request", append([]string{method, below}, f[1:7]...)...))) {
		return nil, ErrBadSignature
	}
	digest, err := hex.DecodeString(f[6])
	seconds, errTime := strconv.ParseInt(f[1], 10, 64)
	n, errN := strconv.ParseUint(f[3], 10, 62)
	floor, errFloor := strconv.ParseUint(f[4], 10, 62)
	if errors.Join(err, errTime, errN, errFloor) != nil || len(digest) != len(Digest{}) {
		return nil, ErrBadSignature
	}
	p := &Proof{Digest: Digest(digest), mac: f[7], client: f[2]}
	if d := now.Sub(time.Unix(seconds, 0)); d > maxSkew || d < -maxSkew {
		return p, ErrSkew
	}
	if f[5] != s.id && method != http.MethodOptions { // who asks what is here does not know yet
		return p, ErrTarget
	}
	if !s.windows.take(f[2], n, floor, now) {
		return p, ErrReplayed
	}
	return p, nil
}

// signing is what a request is signed with; it is in the request's context.
type signing struct {
	session *session
	method  string
	path    string // escaped
	below   string // of path
	body    []byte
	status  int    // that the answer arrived with, whatever its proof says that it was sent with
	mac     string // the proof of the request
	answer  string // the proof of the answer, empty if it has none
}

type signingKey struct{}

// Prove makes a RoundTripper of requests that are signed, and whose answers must be proved.
func (s *Signer) Prove(next func(context.Context) http.RoundTripper) func(context.Context) http.RoundTripper {
	return func(ctx context.Context) http.RoundTripper { return &prover{s, next(ctx)} }
}

type prover struct {
	signer *Signer
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper. A request that the peer knows to be one, but does not
// take, is made once more: it has started anew, or net/http has sent the request twice.
func (p *prover) RoundTrip(r *http.Request) (*http.Response, error) {
	with, ok := r.Context().Value(signingKey{}).(*signing)
	if !ok {
		return p.next.RoundTrip(r)
	}
	response, proved, err := p.try(r, with)
	if err == nil && proved && response.StatusCode == http.StatusUnauthorized {
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			if again.Body, err = r.GetBody(); err != nil {
				return response, nil //nolint:nilerr // that is the answer, then
			}
		}
		discard(response)
		response, _, err = p.try(again, with)
	}
	return response, err
}

func (p *prover) try(r *http.Request, with *signing) (_ *http.Response, proved bool, err error) {
	now, s := time.Now(), with.session
	n, floor := s.begin()
	defer s.end(n)
	target := noTarget
	if t := s.target.Load(); t != nil {
		target = *t
	}
	f := []string{
		strconv.FormatInt(now.Unix(), 10), s.client, strconv.FormatUint(n, 10), strconv.FormatUint(floor, 10), target, hexDigest(with.body),
	}
	mac := p.signer.macOf("request", append([]string{with.method, with.below}, f...)...)
	with.mac, with.answer = mac, ""
	r.Header.Set(proofHeader, proofVersion+" "+strings.Join(f, " ")+" "+mac)
	if p.signer.accept {
		p.signer.Sign(r.Header, with.method, with.path, with.body, now)
	}
	if w, ok := r.Context().Value(lifeKey{}).(*life); ok {
		proof := p.signer.macOf("life", mac)
		w.proof.Store(&proof)
	}
	response, err := p.next.RoundTrip(r)
	if err != nil {
		return nil, false, err
	}
	with.status = response.StatusCode
	response.Header.Del(unprovedHeader)
	id, proved := p.signer.believe(response, mac)
	switch {
	case proved:
		with.answer = response.Header.Get(proofHeader)
		with.answer = with.answer[strings.LastIndexByte(with.answer, ' ')+1:]
		s.target.Store(&id)
	case !p.signer.accept || response.Header.Get(proofHeader) != "":
		response.Header.Del(Marker)
		response.Header.Set(unprovedHeader, "1")
	}
	return response, proved, nil
}

// unprovedHeader is set here in answers that a peer should have proved.
const unprovedHeader = "X-Holdfast-Unproved"

// proveds are the headers of an answer that its proof covers.
func proveds(h http.Header) []string {
	parts := []string{h.Get(Marker), h.Get(ringHeader), h.Get(ringUsedHeader)}
	if zone := h.Get(zoneHeader); zone != "" { // only those are told that know of it
		parts = append(parts, zone)
	}
	return parts
}

// believe checks the proof of an answer to a request, and returns who gave it. A body that is
// another one ends with an error.
func (s *Signer) believe(r *http.Response, mac string) (id string, ok bool) {
	f := strings.Split(r.Header.Get(proofHeader), " ")
	if len(f) != 5 || f[0] != proofVersion {
		return "", false
	}
	if !hmac.Equal([]byte(f[4]), []byte(s.macOf("answer", append([]string{mac, f[1], f[2], f[3]}, proveds(r.Header)...)...))) {
		return "", false
	}
	code, err := strconv.Atoi(f[2])
	if err != nil {
		return "", false
	}
	r.Header.Del(statusHeader)
	if code != r.StatusCode {
		r.StatusCode, r.Status = code, f[2]+" "+http.StatusText(code)
	}
	if code != http.StatusSwitchingProtocols { // its body is the connection
		r.Body = &provedBody{r.Body, sha256.New(), f[3]}
	}
	return f[1], true
}

// provedBody ends with an error if it does not have its digest.
type provedBody struct {
	io.ReadCloser
	sum  hash.Hash
	want string
}

// Read implements io.Reader.
func (b *provedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	_, _ = b.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(b.sum.Sum(nil)) != b.want {
		err = fmt.Errorf("%w: the body is not the one that was sent", wire.ErrUnproved)
	}
	return n, err
}

// life is what a sign of life must prove, once the request has been signed.
type life struct{ proof atomic.Pointer[string] }

type lifeKey struct{}

// proves reports whether a sign of life is one of the peer. Nil proves everything.
func (l *life) proves(h textproto.MIMEHeader) bool {
	if l == nil {
		return true
	}
	want := l.proof.Load()
	return want != nil && hmac.Equal([]byte(h.Get(lifeHeader)), []byte(*want))
}

// Answer makes the writer of an answer that is proved. Finish sends the bytes that are written to
// it.
func (s *Signer) Answer(w http.ResponseWriter, p *Proof) *Proving {
	w.Header().Set(lifeHeader, s.macOf("life", p.mac))
	return &Proving{ResponseWriter: w, signer: s, proof: p}
}

// Proving is a writer that proves an answer in its head. It keeps the body until all of it is
// there.
type Proving struct {
	http.ResponseWriter
	signer *Signer
	proof  *Proof
	status int
	sent   bool
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter. Signs of life go out at once.
func (p *Proving) WriteHeader(status int) {
	switch {
	case status < http.StatusOK:
		p.ResponseWriter.WriteHeader(status)
	case p.status == 0:
		p.status = status
	}
}

// Write implements http.ResponseWriter.
func (p *Proving) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if !p.sent && p.body.Len() == 0 && p.Header().Get("Content-Length") == strconv.Itoa(len(b)) {
		return p.send(b) // without a copy of what may be large
	}
	if p.sent {
		return p.ResponseWriter.Write(b)
	}
	return p.body.Write(b)
}

// proveAnswer puts the proof of an answer into its head, and returns it.
func (s *Signer) proveAnswer(h http.Header, p *Proof, status int, body []byte) (mac string) {
	f := []string{s.id, strconv.Itoa(status), hexDigest(body)}
	mac = s.macOf("answer", append(append([]string{p.mac}, f...), proveds(h)...)...)
	h.Set(proofHeader, proofVersion+" "+strings.Join(f, " ")+" "+mac)
	return mac
}

func (p *Proving) send(body []byte) (int, error) {
	p.sent = true
	p.signer.proveAnswer(p.Header(), p.proof, p.status, body)
	p.Header().Del(lifeHeader)
	p.ResponseWriter.WriteHeader(p.status)
	if len(body) == 0 {
		return 0, nil
	}
	return p.ResponseWriter.Write(body)
}

// Finish sends the answer.
func (p *Proving) Finish() {
	if p.sent {
		return
	}
	p.WriteHeader(http.StatusOK)
	_, _ = p.send(p.body.Bytes()) // the peer has gone: there is nobody to tell
}

// Flush does nothing: the head has the digest of the whole body.
func (*Proving) Flush() {}

// Unwrap is for http.ResponseController.
func (p *Proving) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// keysOf makes the keys of a connection from the proofs of the request that began it and of the
// answer.
func (s *Signer) keysOf(asked, answered string) (toServer, toClient []byte, err error) {
	derive := func(what string) ([]byte, error) {
		return hkdf.Key(sha256.New, s.secret, []byte(asked+answered), "holdfast groupcache frames "+proofVersion+" "+what, sha256.Size)
	}
	toServer, err = derive("to server")
	if err != nil {
		return nil, nil, err
	}
	toClient, err = derive("to client")
	return toServer, toClient, err
}
