package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

const (
	// LargeValue is from which size on a value is sent on a connection of its own, so that the
	// calls behind it on the shared one need not wait for it.
	LargeValue = 32 << 10
	// maxIdleTime is how long an unused private connection is trusted.
	maxIdleTime = int64(30 * time.Second)
)

// private is a connection that one call at a time has for itself. Between two calls nothing may
// arrive on it: a surplus reply would be taken for the next call's.
type private struct {
	conn   net.Conn
	in     *bufio.Reader
	worked bool
	since  int64      // idle since
	ending string     // the request behind each; see barrier
	guard  chan error // how the read of the idle connection ended; nil if the socket can be looked into instead
}

func isLarge(r *protocol.Request) bool { return r.Op.Stores() && len(r.Item.Value) > LargeValue }

// exchangePrivate sends a large value and waits for the reply.
func (s *Server) exchangePrivate(ctx context.Context, f *Flight, r *protocol.Request) error {
	c := f.call
	c.begin()
	limit := s.Env.epoch.Add(time.Duration(f.start) + s.Env.config.Timeout)
	limited, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	err := s.tryPrivate(limited, f, r)
	if err != nil && !c.replied {
		err = s.privateFault(ctx, f, err)
	}
	c.err = err
	return err
}

// privateFault classifies a failure and charges it.
func (s *Server) privateFault(ctx context.Context, f *Flight, err error) error {
	switch {
	case errors.Is(err, errElsewhere):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case faults.IsTimeout(err) && !s.IsDown():
		if now := s.Env.Now(); f.given == 0 || now-f.given > int64(s.Env.config.Timeout)/2 { // else it had little time
			s.strikes.ChargeTimeout(s.Breaker, f.start, now)
		}
		return faults.ErrTimeout
	}
	s.charge(err)
	return err
}

func (s *Server) tryPrivate(ctx context.Context, f *Flight, r *protocol.Request) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return faults.ErrBusy // says nothing about the server
	}
	p, err := s.takePrivate(ctx)
	if err != nil {
		return err
	}
	got, err := p.exchange(ctx, f, r, &s.Env.secure)
	if err != nil || got.End != nil {
		s.dropPrivate(p)
	}
	var doubtful *unverified
	if errors.As(err, &doubtful) && errors.Is(err, io.EOF) {
		s.versionless.Store(true) // perhaps; a probe tells
	}
	switch {
	case err != nil:
		return s.lostPrivate(p, err)
	case got.End != nil && errors.Is(got.End, faults.ErrBadReply):
		return got.End
	case got.End == nil:
		if !p.worked {
			p.worked = true
			s.Env.Unanswered.End()
		}
		s.putPrivate(p)
	}
	f.call.replied = true
	return got.Err
}

func (s *Server) lostPrivate(p *private, err error) *faults.Fault {
	if p.worked {
		return UsedFault(err)
	}
	return s.freshFault(err)
}

// unverified is why the barrier behind a reply did not come.
type unverified struct{ error }

func (u *unverified) Unwrap() error { return u.error }

func (p *private) exchange(ctx context.Context, f *Flight, r *protocol.Request, login *secure) (protocol.LineReply, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	f.call.sent = true
	header := protocol.AppendStoreHeader([]byte(r.Op.Word()), r)
	// The barrier is a buffer of its own, and so a TLS record of its own: memcached forgets what is
	// left of a record that it has read the end of a value from, until more arrives.
	request := net.Buffers{header, r.Item.Value, []byte("\r\n"), []byte(p.ending)}
	_, unsent := request.WriteTo(p.conn)
	if unsent != nil && p.worked {
		return protocol.LineReply{}, unsent
	}
	line, err := protocol.ReadLine(p.in) // also if the request did not get out: a refusal at the connection limit is there to be read
	switch {
	case err == nil && !p.worked && protocol.TurnedAway(line):
		return protocol.LineReply{}, faults.Soft(faults.ErrTooManyConns)
	case err == nil && login.unauthenticated(line):
		return protocol.LineReply{}, faults.Soft(fmt.Errorf("%w: the server answered %q", faults.ErrAuth, line))
	case unsent != nil:
		return protocol.LineReply{}, unsent
	case err != nil:
		return protocol.LineReply{}, err
	}
	got := protocol.ParseLine(r.Op, line)
	if got.End != nil {
		return got, nil
	}
	if err := p.barrier(r.Op); err != nil {
		return protocol.LineReply{}, &unverified{err}
	}
	if !stop() {
		got.End = faults.Blameless(faults.ErrTimeout) // the reply came in time, but the connection's deadline is spoilt
	}
	return got, nil
}

// barrier reads the reply to the ending behind the request, which can be told from that of any
// other: if it comes second, what came first is the answer, and not a surplus reply to the call
// before, however late that was.
func (p *private) barrier(o protocol.Op) error {
	line, err := protocol.ReadLine(p.in)
	switch {
	case err != nil:
		return err
	case p.in.Buffered() > 0:
	case p.ending != protocol.VersionRequest && (string(line) == "END" || protocol.IsErrorLine(line)):
		return nil
	case p.ending == protocol.VersionRequest && (bytes.HasPrefix(line, []byte("VERSION")) || string(line) == "ERROR"): // not known, but not more
		return nil
	}
	return faults.Soft(fmt.Errorf("%w: %q after the reply to %s", faults.ErrBadReply, line[:min(len(line), protocol.MaxQuoted)], o.Word()))
}

// takePrivate returns an idle connection on which nothing has arrived meanwhile, or a new one.
func (s *Server) takePrivate(ctx context.Context) (*private, error) {
	for {
		p, err := s.popIdle()
		if err != nil {
			return nil, err
		}
		if p == nil {
			break
		}
		if p.quiet() && s.home.takes(p.conn) {
			return p, nil
		}
		s.dropPrivate(p)
	}
	conn, err := s.open(ctx, s.dialPrivate)
	if err != nil {
		return nil, err
	}
	if err := s.Adopt(conn); err != nil {
		return nil, err
	}
	p := &private{conn: conn, in: bufio.NewReaderSize(&meter{Conn: conn, server: s}, 512), ending: protocol.VersionRequest}
	if s.versionless.Load() {
		p.ending = s.Env.canaryRequest()
	}
	return p, nil
}

// popIdle takes the connection that was used last; nil if there is none.
func (s *Server) popIdle() (*private, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unusableLocked(); err != nil {
		return nil, err
	}
	for n := len(s.idle); n > 0; n = len(s.idle) {
		p := s.idle[n-1]
		s.idle = s.idle[:n-1]
		if s.Env.Now()-p.since < maxIdleTime {
			s.privates[p.conn] = struct{}{}
			return p, nil
		}
		sockets.Discard(p.conn)
	}
	return nil, nil //nolint:nilnil // none is not an error.
}

// lookTime is how long an idle connection is read from that cannot be looked into otherwise.
const lookTime = 500 * time.Microsecond

// quiet reports whether nothing has arrived on an idle connection, not even its end, and ends the
// guard.
func (p *private) quiet() bool {
	if p.guard == nil {
		return !sockets.Readable(p.conn)
	}
	if p.conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	err := <-p.guard
	p.guard = nil
	if err != nil && faults.IsTimeout(err) { // what came last may still be in the socket
		if sockets.Peekable(sockets.SocketOf(p.conn)) {
			return !sockets.Readable(p.conn) && p.conn.SetReadDeadline(time.Time{}) == nil
		}
		if err = p.conn.SetReadDeadline(time.Now().Add(lookTime)); err == nil {
			_, err = p.in.Peek(1)
		}
	}
	return err != nil && faults.IsTimeout(err) && p.conn.SetReadDeadline(time.Time{}) == nil
}

// Adopt makes a connection one that a trip or Close cuts; it closes it if that has happened.
func (s *Server) Adopt(conn net.Conn) error {
	s.mu.Lock()
	err := s.unusableLocked()
	if err == nil {
		s.privates[conn] = struct{}{}
	}
	s.mu.Unlock()
	if err != nil {
		sockets.Discard(conn)
	}
	return err
}

// putPrivate keeps the connection for the next call, if there is room. Where bytes may hide above
// the socket, as in a TLS connection, it is read from meanwhile.
func (s *Server) putPrivate(p *private) {
	s.mu.Lock()
	delete(s.privates, p.conn)
	keep := s.unusableLocked() == nil && s.home.takes(p.conn) && len(s.idle) < s.Env.config.MaxIdleConns
	if keep {
		p.since = s.Env.Now()
		s.idle = append(s.idle, p)
		if !sockets.Peekable(p.conn) {
			p.guard = make(chan error, 1)
			s.Env.running.Go(func() { s.guardIdle(p, p.guard) })
		}
	}
	s.mu.Unlock()
	if !keep {
		_ = p.conn.Close()
	}
}

// guardIdle reads from an idle connection until its next user ends that by a deadline. Whatever
// comes before ends the connection.
func (s *Server) guardIdle(p *private, ended chan<- error) {
	_, err := p.in.Peek(1)
	ended <- err
	if err != nil && faults.IsTimeout(err) {
		return
	}
	s.mu.Lock()
	i := slices.Index(s.idle, p)
	if i >= 0 {
		s.idle = slices.Delete(s.idle, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		sockets.Discard(p.conn)
	}
}

func (s *Server) dropPrivate(p *private) {
	s.Release(p.conn)
	sockets.Discard(p.conn)
}

// Release ends what Adopt began; it does not close the connection.
func (s *Server) Release(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.privates, conn)
}
