package httppeer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	timeHeader      = "X-Holdfast-Time"
	signatureHeader = "X-Holdfast-Signature"
	// maxSkew is how far the clocks of two peers may differ.
	maxSkew = 30 * time.Second
)

// Signer signs requests with a shared secret, and checks the signatures of others: HMAC-SHA256 (RFC 2104) over the method, the escaped
// path, the Unix time in seconds and the SHA-256 of the body.
type Signer struct{ secret []byte }

// NewSigner makes a signer of a secret, which is copied.
func NewSigner(secret []byte) *Signer { return &Signer{append([]byte(nil), secret...)} }

// Why a request is not taken for one of a peer.
var (
	ErrUnsigned     = errors.New("the request is not signed")
	ErrBadSignature = errors.New("the signature does not fit the request")
	ErrSkew         = errors.New("the signature's time is more than 30 s from this peer's clock")
)

// Sign adds the signature to a request.
func (s *Signer) Sign(h http.Header, method, escapedPath string, body []byte, now time.Time) {
	at := strconv.FormatInt(now.Unix(), 10)
	h.Set(timeHeader, at)
	h.Set(signatureHeader, hex.EncodeToString(s.sum(method, escapedPath, at, body)))
}

// Verify checks the signature of a request.
func (s *Signer) Verify(h http.Header, method, escapedPath string, body []byte, now time.Time) error {
	at, signature := h.Get(timeHeader), h.Get(signatureHeader)
	if at == "" || signature == "" {
		return ErrUnsigned
	}
	got, err := hex.DecodeString(signature)
	if err != nil || !hmac.Equal(got, s.sum(method, escapedPath, at, body)) {
		return ErrBadSignature
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return ErrBadSignature
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > maxSkew || d < -maxSkew {
		return ErrSkew
	}
	return nil
}

func (s *Signer) sum(method, escapedPath, at string, body []byte) []byte {
	digest := sha256.Sum256(body)
	mac := hmac.New(sha256.New, s.secret)
	for _, part := range []string{method, escapedPath, at} {
		mac.Write([]byte(part))
		mac.Write([]byte{'\n'}) // none of them has one
	}
	mac.Write(digest[:])
	return mac.Sum(nil)
}
