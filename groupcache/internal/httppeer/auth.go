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
	digestHeader    = "X-Holdfast-Digest" // of the body, if there is one
	signatureHeader = "X-Holdfast-Signature"
	// maxSkew is how far the clocks of two peers may differ.
	maxSkew = 30 * time.Second
)

// Signer proves who asks and who answers with a shared secret, and checks what others prove. Sign
// and Verify are the previous format: HMAC-SHA256 over the method, the escaped path, the Unix time
// in seconds and the SHA-256 of the body.
type Signer struct {
	secret  []byte
	id      string // of this process
	accept  bool   // the previous format, and answers without a proof
	windows windows
}

// NewSigner makes a signer of a secret, which is copied. One that accepts signs requests in the
// previous format, too, and believes answers without a proof.
func NewSigner(secret []byte, accept bool) *Signer {
	return &Signer{secret: append([]byte(nil), secret...), id: randomName(), accept: accept}
}

// Why a request is not taken for one of a peer.
var (
	ErrUnsigned     = errors.New("the request is not signed")
	ErrBadSignature = errors.New("the signature does not fit the request: the secrets differ, or something on the way changes its method or path")
	ErrSkew         = errors.New("the signature's time is more than 30 s from this peer's clock")
)

// Digest is the SHA-256 of a body.
type Digest [sha256.Size]byte

// Of reports whether a body has the digest.
func (d Digest) Of(body []byte) bool {
	sum := sha256.Sum256(body)
	return hmac.Equal(d[:], sum[:])
}

// Sign adds the signature to a request.
func (s *Signer) Sign(h http.Header, method, escapedPath string, body []byte, now time.Time) {
	at := strconv.FormatInt(now.Unix(), 10)
	digest := sha256.Sum256(body)
	h.Set(timeHeader, at)
	if len(body) > 0 {
		h.Set(digestHeader, hex.EncodeToString(digest[:]))
	}
	h.Set(signatureHeader, hex.EncodeToString(s.sum(method, escapedPath, at, digest)))
}

// Verify checks the signature of a request by its head. The body must then have the digest that it
// returns.
func (s *Signer) Verify(h http.Header, method, escapedPath string, now time.Time) (Digest, error) {
	at, signature := h.Get(timeHeader), h.Get(signatureHeader)
	if at == "" || signature == "" {
		return Digest{}, ErrUnsigned
	}
	digest := Digest(sha256.Sum256(nil))
	if d := h.Get(digestHeader); d != "" {
		b, err := hex.DecodeString(d)
		if err != nil || len(b) != len(digest) {
			return Digest{}, ErrBadSignature
		}
		digest = Digest(b)
	}
	got, err := hex.DecodeString(signature)
	if err != nil || !hmac.Equal(got, s.sum(method, escapedPath, at, digest)) {
		return Digest{}, ErrBadSignature
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return Digest{}, ErrBadSignature
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > maxSkew || d < -maxSkew {
		return Digest{}, ErrSkew
	}
	return digest, nil
}

func (s *Signer) sum(method, escapedPath, at string, digest Digest) []byte {
	mac := hmac.New(sha256.New, s.secret)
	for _, part := range []string{method, escapedPath, at} {
		mac.Write([]byte(part))
		mac.Write([]byte{'\n'}) // none of them has one
	}
	mac.Write(digest[:])
	return mac.Sum(nil)
}
