package httppeer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// maxDiscarded is how much is read of a body that is not used: a peer that cannot send all does not
// see the answer.
const maxDiscarded = 16 << 20

var (
	// ErrBodyTooLarge says that a body has more bytes than allowed.
	ErrBodyTooLarge = errors.New("the body is too large")
	// ErrBodyUnread says that a body did not arrive.
	ErrBodyUnread = errors.New("the body did not arrive")
)

// ReadBody reads a request's body of limit bytes at most, in memory that grows with what arrives.
// One that stalls for 10 s, or comes at less than 64 KiB a second, is given up, unless the
// http.Server has a ReadTimeout, which holds then. The error is ErrBodyTooLarge or ErrBodyUnread.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength > limit {
		DiscardBody(w, r)
		return nil, ErrBodyTooLarge
	}
	in, stop := pace(w, r)
	defer stop()
	body, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBodyUnread, err)
	}
	if r.ContentLength > 0 && int64(len(body)) != r.ContentLength { // a middleware has read it before
		return nil, fmt.Errorf("%w: it has %d bytes of %d", ErrBodyUnread, len(body), r.ContentLength)
	}
	if int64(len(body)) > limit {
		_, _ = io.CopyN(io.Discard, in, maxDiscarded)
		return nil, ErrBodyTooLarge
	}
	return body, nil
}

// DiscardBody reads a body that is not used, up to some length.
func DiscardBody(w http.ResponseWriter, r *http.Request) {
	in, stop := pace(w, r)
	defer stop()
	_, _ = io.CopyN(io.Discard, in, maxDiscarded)
}

// pace makes a reader of a body that does not wait for ever. After stop the connection has no
// deadline any more.
func pace(w http.ResponseWriter, r *http.Request) (in io.Reader, stop func()) {
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.ReadTimeout > 0 {
		return r.Body, func() {}
	}
	control := http.NewResponseController(w)
	return &paced{body: r.Body, control: control}, func() { _ = control.SetReadDeadline(time.Time{}) }
}

// paced is a body that must keep a pace.
type paced struct {
	body    io.Reader
	control *http.ResponseController
	so      wire.Progress // far
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	begun := time.Now()
	due := begun.Add(p.so.Patience())
	_ = p.control.SetReadDeadline(due) // behind a writer that does not know it, one read may take as long as it likes
	n, err := p.body.Read(b)
	now := time.Now()
	p.so.Came(n, now.Sub(begun))
	if err == nil && now.After(due) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// longBody is from which length on the sending of a body takes so long that it is watched, and its
// receiver shows signs of life.
const longBody = 64 << 10

// IsLong reports whether the body of a request may take long to arrive.
func IsLong(r *http.Request) bool { return r.ContentLength < 0 || r.ContentLength >= longBody }

// progress is the key of a context whose value is called when a part of the request's body has gone
// out.
type progress struct{}

// bodyOf makes the body of a request of a context.
func bodyOf(ctx context.Context, body []byte) io.ReadCloser {
	if gone, ok := ctx.Value(progress{}).(func()); ok {
		return io.NopCloser(&lively{bytes.NewReader(body), gone}) // which has no WriteTo: so it is asked for piece after piece
	}
	return io.NopCloser(bytes.NewReader(body))
}

// lively is a reader whose reads are signs of life.
type lively struct {
	io.Reader
	alive func()
}

func (l *lively) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == nil {
		l.alive()
	}
	return n, err
}

// discard reads what little may be left, so that the connection can be used again. That of 101 is
// the connection, of which nothing may come.
func discard(response *http.Response) {
	if response.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.CopyN(io.Discard, response.Body, maxMessage)
	}
	_ = response.Body.Close()
}

// maxMessage is how much of an error's body is read.
const maxMessage = 64 << 10
