package memcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

var (
	// ErrServerDown matches every [*ServerDownError]: the call was refused, or failed on the way,
	// because of its server. Use the fallback; the client heals by itself.
	ErrServerDown = errors.New("memcache: server down")

	// ErrItemTooLarge says that a value is larger than [Options.MaxItemSize]. It was not read; its
	// connection was dropped.
	ErrItemTooLarge = faults.ErrItemTooLarge

	// ErrBusy is the cause of a [*ServerDownError] when a server has [Options.MaxInFlight] calls
	// under way, took no more bytes within [Options.Timeout], or is being re-admitted a few calls
	// at a time. Treat it as a server that is down.
	ErrBusy = faults.ErrBusy

	// ErrTimeout is the cause of a [*ServerDownError] when no reply came within [Options.Timeout].
	ErrTimeout = faults.ErrTimeout

	// ErrHung is the cause of a [*ServerDownError] when several calls waited and the server sent
	// not a byte.
	ErrHung = faults.ErrHung

	// ErrBadReply is the cause of a [*ServerDownError] when a reply did not parse or answered
	// another key.
	ErrBadReply = faults.ErrBadReply

	// ErrClosed is the cause of a [*ServerDownError] when [Client.Close] cut the call. The client
	// can be used again.
	ErrClosed = faults.ErrClosed

	// ErrAuth is the cause of a [*ServerDownError] when the server has refused what
	// [Options.Credentials] returned, or takes a connection for not logged in. Mend the
	// credentials, or the server's list of users; the client tries again by itself.
	ErrAuth = faults.ErrAuth

	errNilItem = errors.New("memcache: nil *Item: pass an item with a key")
)

// ServerDownError says that a call did not get its answer because of its server. It matches
// [ErrServerDown], and its cause.
type ServerDownError struct {
	// Addr is the server, as it was configured.
	Addr string
	// Op is the operation: "get", "set", …
	Op string
	// Since is when the server was found down; zero if it is not (yet) taken for down, as after a
	// single time-out.
	Since time.Time
	// Cause is what happened: a dial error, [ErrTimeout], [ErrHung], [ErrBusy], …
	Cause error
	// Sent reports whether a byte of the request may have reached the server. If false, it was
	// certainly not carried out.
	Sent bool
	// Guttered reports whether [Options.Gutter] has stored the value of this Set for the server
	// that is down. Only a client that is [Client.Reporting] gets an error then.
	Guttered bool
}

func downError(s *server.Server, o protocol.Op, out server.Outcome) *ServerDownError {
	e := &ServerDownError{Addr: s.Address, Op: o.Verb(), Cause: faults.Plain(out.Err), Sent: out.Sent}
	down := s.DownNow()
	if down != nil {
		e.Since = down.Since
	} else if st := s.Breaker.Stats(); server.IsDown(st.State) {
		e.Since = st.Since // found down by this very call
	}
	if errors.Is(out.Err, server.ErrRefused) {
		e.Cause = s.DownCause()
	}
	return e
}

// Error says which server, which operation, why and since when.
func (e *ServerDownError) Error() string {
	text := fmt.Sprintf("%v: %s: %s: %v", ErrServerDown, e.Addr, e.Op, e.Cause)
	if !e.Since.IsZero() {
		text += " (down since " + e.Since.UTC().Format(time.RFC3339Nano) + ")"
	}
	return text
}

// Unwrap makes errors.Is work for [ErrServerDown] and for the cause.
func (e *ServerDownError) Unwrap() []error { return []error{ErrServerDown, e.Cause} }

// missUnlessEnded is the error of a Get that found nothing.
func missUnlessEnded(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrCacheMiss
}
