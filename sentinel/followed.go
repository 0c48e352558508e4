package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// followed is a connection of a Dialer. Its Write and Read take no lock.
type followed struct {
	net.Conn

	raw        net.Conn // beneath the encryption, if there is one
	primary    *primary
	generation uint64
	addr       string
	written    atomic.Uint64 // writes that may have reached the server
	answered   atomic.Uint64 // of these, the ones before the last Read that brought something
	reading    atomic.Bool   // somebody is in Read
	duplex     atomic.Bool   // its user reads and writes at once, so that a reply may be to any earlier write: all are owed
	writeBy    atomic.Int64
	ended      atomic.Pointer[error]
}

// Write writes, or refuses: once the primary is another, or there is none. It holds commands that change data back while a failover is
// under way.
func (f *followed) Write(b []byte) (int, error) {
	if f.reading.Load() {
		f.duplex.Store(true)
	}
	if s := f.primary.seat.Load(); s.generation != f.generation || s.fence != nil || s.err != nil {
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

// owing tells whether a reply may be still to come: something was written, and nothing has been read since by a user that reads only after
// it has written.
func (f *followed) owing() bool {
	written := f.written.Load()
	return written != f.answered.Load() || written > 0 && f.duplex.Load()
}

// admit returns nil if b may be written after all.
func (f *followed) admit(s *seat, b []byte) error {
	p := f.primary
	if s.fence != nil && s.err == nil && s.generation == f.generation {
		if _, class, err := p.client.calls.Known.Inspect(b); err == nil && class&wire.Writes == 0 {
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
	case s.err != nil:
		p.metrics.refused.Add(1)
		return s.err
	case s.generation != f.generation:
		return fmt.Errorf("%w: primary %q is now %s", ErrFailover, p.name, s.addr)
	}
	return nil
}

// unsent is the error of a Write that has failed. If a reply is owed its user may have sent a part of a command before, or wait for
// another's: what became of that is not known.
func (f *followed) unsent(err error) error {
	if f.owing() {
		return f.unknown(err)
	}
	f.primary.metrics.notSent.Add(1)
	return f.primary.notSent(f.addr, err)
}

func (f *followed) unknown(err error) error {
	if f.owing() {
		f.primary.metrics.unknown.Add(1)
	}
	return f.primary.outcomeUnknown(f.addr, err)
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
	if err == nil || f.end() == nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)) {
		return n, err
	}
	return n, f.unknown(f.reason(err))
}

// Close closes the connection.
func (f *followed) Close() error {
	f.primary.followers.remove(f)
	return f.unlessEnded(f.Conn.Close())
}

// SetDeadline sets both deadlines. As the two others, it returns nil for a connection that the client has ended: Read and Write say what
// there is to be said, and know whether something was sent.
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

// followedSocket is one whose socket can be looked at. A pool that does so before it uses a connection finds that this one leads to the
// primary no more.
type followedSocket struct {
	*followed

	socket syscall.Conn
}

// SyscallConn returns the socket, or an error once the primary is another.
func (f followedSocket) SyscallConn() (syscall.RawConn, error) {
	if f.primary.seat.Load().generation != f.generation {
		return nil, net.ErrClosed
	}
	return f.socket.SyscallConn()
}

// followers are the connections of the Dialers of one primary.
type followers struct {
	mu    sync.Mutex
	conns map[*followed]struct{} // guarded by mu
}

// add takes a connection in, unless the primary is another by now. Whoever changes the primary changes the seat first, and looks at the
// followers then: none is missed.
func (s *followers) add(f *followed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := f.primary.seat.Load(); now.generation != f.generation {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[*followed]struct{})
	}
	s.conns[f] = struct{}{}
	return true
}

func (s *followers) remove(f *followed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, f)
}

func (s *followers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// takeBefore takes out the connections of earlier generations: all of them, or those that are idle.
func (s *followers) takeBefore(generation uint64, which func(*followed) bool) []*followed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []*followed
	for f := range s.conns {
		if f.generation < generation && which(f) {
			taken = append(taken, f)
			delete(s.conns, f)
		}
	}
	return taken
}

func every(*followed) bool { return true }

func owesNothing(f *followed) bool { return !f.owing() }

// endFollowed ends connections of earlier generations. Their users learn it at once; the sockets are closed beside, as there may be many.
func (p *primary) endFollowed(generation uint64, which func(*followed) bool, cause error) {
	taken := p.followers.takeBefore(generation, which)
	if len(taken) == 0 {
		return
	}
	for _, f := range taken {
		f.ended.Store(&cause)
	}
	p.client.director.log.Debug("connections of other clients end", observe.Endpoint(p.name), "connections", len(taken), observe.Cause(cause))
	closeAll := func() {
		for _, f := range taken {
			f.abort()
		}
	}
	if !p.client.spawn(closeAll) {
		closeAll()
	}
}
