package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// followed is a connection of a Dialer. Its Write and Read take no lock.
type followed struct {
	net.Conn

	raw        net.Conn // beneath the encryption, if there is one
	primary    *Route
	forget     func(*followed) // told when it is closed
	generation uint64
	addr       string
	written    atomic.Uint64 // writes that may have reached the server
	answered   atomic.Uint64 // of these, the ones before the last Read that brought something
	reading    atomic.Bool   // somebody is in Read
	more       atomic.Bool   // the last Read has filled its buffer
	duplex     atomic.Bool   // its user reads and writes at once, so that a reply may be to any earlier write: all are owed
	writeBy    atomic.Int64
	ended      atomic.Pointer[error]
}

// Write writes, or refuses: once the primary is another, or there is none. It holds commands that
// change data back while a failover is under way.
func (f *followed) Write(b []byte) (int, error) {
	if f.reading.Load() {
		f.duplex.Store(true)
	}
	if s := f.primary.Seat(); s.Generation != f.generation || s.Fence != nil || s.Err != nil {
		if err := f.admit(s, b); err != nil {
			return 0, f.unsent(err)
		}
	}
	owed := f.owing()
	f.written.Add(1)
	n, err := f.Conn.Write(b)
	switch {
	case err == nil:
		return n, nil
	case f.end() == nil && errors.Is(err, os.ErrDeadlineExceeded):
		return n, err
	case n == 0 && !owed:
		f.written.Add(^uint64(0))
	}
	return n, f.unsent(f.reason(err))
}

// owing reports whether a reply may be still to come: something was written, and nothing has been
// read since by a user that reads only after it has written.
func (f *followed) owing() bool {
	written := f.written.Load()
	return written != f.answered.Load() || written > 0 && f.duplex.Load()
}

// idle reports whether its user waits for nothing: neither for the first part of a reply nor, as
// far as can be seen, for the rest. A message of the server's own may have come before the reply.
func (f *followed) idle() bool { return !f.owing() && !f.reading.Load() && !f.more.Load() }

// admit returns nil if b may be written after all.
func (f *followed) admit(s *Seat, b []byte) error {
	p := f.primary
	if s.Fence != nil && s.Err == nil && s.Generation == f.generation {
		if _, class, err := p.Calls.Known.Inspect(b); err == nil && class&wire.Writes == 0 {
			return nil
		}
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if by := f.writeBy.Load(); by != 0 {
			ctx, cancel = context.WithDeadline(ctx, time.Unix(0, by))
		}
		defer cancel()
		var err error
		if s, err = p.await(ctx, s, wire.Writes); err != nil {
			return err
		}
	}
	switch {
	case s.Err != nil:
		p.Metrics.Refused.Add(1)
		return s.Err
	case s.Generation != f.generation:
		return fmt.Errorf("%w: primary %q is now %s", outcome.ErrFailover, p.Name, s.Addr)
	}
	return nil
}

// unsent is the error of a Write that has failed. If a reply is owed its user may have sent a part
// of a command before, or wait for another's: what became of that is not known.
func (f *followed) unsent(err error) error {
	if f.owing() {
		return f.unknown(err)
	}
	f.primary.Metrics.NotSent.Add(1)
	return notSent(f.primary.Name, f.addr, err)
}

func (f *followed) unknown(err error) error {
	if f.owing() {
		f.primary.Metrics.Unknown.Add(1)
	}
	return outcomeUnknown(f.primary.Name, f.addr, err)
}

// reason is why the connection has ended, if the client has ended it.
func (f *followed) reason(err error) error {
	if why := f.end(); why != nil {
		return why
	}
	return err
}

// end is why the client has ended the connection; nil if it has not.
func (f *followed) end() error {
	if why := f.ended.Load(); why != nil {
		return *why
	}
	return nil
}

// Read reads. An end of the connection that is not the user's own comes with ErrOutcomeUnknown.
func (f *followed) Read(b []byte) (int, error) {
	written := f.written.Load() // one that is written from now on is not what this reads the reply to
	f.reading.Store(true)
	n, err := f.Conn.Read(b)
	f.reading.Store(false)
	if n > 0 {
		f.answered.Store(written)
	}
	if more := n > 0 && n == len(b); more != f.more.Load() {
		f.more.Store(more)
	}
	if err == nil || f.end() == nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)) {
		return n, err
	}
	return n, f.unknown(f.reason(err))
}

// Close closes the connection.
func (f *followed) Close() error {
	f.forget(f)
	return f.unlessEnded(f.Conn.Close())
}

// SetDeadline sets both deadlines. As the two others, it returns nil for a connection that the
// client has ended: Read and Write say what there is to be said, and know whether something was
// sent.
func (f *followed) SetDeadline(t time.Time) error {
	f.noteDeadline(t)
	return f.unlessEnded(f.Conn.SetDeadline(t))
}

// SetWriteDeadline bounds how long a command waits for the end of a failover, too.
func (f *followed) SetWriteDeadline(t time.Time) error {
	f.noteDeadline(t)
	return f.unlessEnded(f.Conn.SetWriteDeadline(t))
}

// SetReadDeadline bounds Read.
func (f *followed) SetReadDeadline(t time.Time) error {
	return f.unlessEnded(f.Conn.SetReadDeadline(t))
}

func (f *followed) unlessEnded(err error) error {
	if f.end() != nil {
		return nil
	}
	return err
}

func (f *followed) noteDeadline(t time.Time) {
	if t.IsZero() {
		f.writeBy.Store(0)
		return
	}
	f.writeBy.Store(t.UnixNano())
}

// NetConn returns the connection itself, as that of tls.Conn does.
func (f *followed) NetConn() net.Conn { return f.Conn }

// abort closes the connection at once: what it still has to send is dropped.
func (f *followed) abort() {
	if tcp, ok := f.raw.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = f.raw.Close()
}

// followedSocket is one whose socket can be looked at. A pool that does so before it uses a
// connection finds that this one leads to the primary no more.
type followedSocket struct {
	*followed

	socket syscall.Conn
}

// SyscallConn returns the socket, or an error once the primary is another.
func (f followedSocket) SyscallConn() (syscall.RawConn, error) {
	if f.primary.Seat().Generation != f.generation {
		return nil, net.ErrClosed
	}
	return f.socket.SyscallConn()
}
