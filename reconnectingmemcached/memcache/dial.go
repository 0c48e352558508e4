package memcache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"

	"github.com/holdfast-go/holdfast/internal/observe"
)

type dialing func(ctx context.Context) (net.Conn, error)

// dial opens a connection to the server's home. The error is a fault.
func (s *server) dial(ctx context.Context) (net.Conn, error) { return s.open(ctx, s.dialHome) }

// open opens a connection within the time limit of a call. The error is a fault.
func (s *server) open(ctx context.Context, dial dialing) (net.Conn, error) {
	began := s.core.now()
	limited, cancel := context.WithTimeout(ctx, s.core.options.Timeout)
	defer cancel()
	conn, err := dial(limited)
	if err == nil {
		return conn, nil
	}
	f := s.dialFault(ctx, err, began)
	f.Dial = true
	return nil, f
}

// knock dials one address.
func (s *server) knock(ctx context.Context, address string) (net.Conn, error) {
	began := s.core.now()
	conn, err := s.core.dialSafely(ctx, s.network, address)
	if err == nil {
		s.pace.Guess(s.core.now() - began)
		conn, err = s.secured(ctx, conn)
	}
	s.metrics.dialed(err)
	if err == nil && !sockets.Resettable(conn) && s.core.unresettable.CompareAndSwap(false, true) {
		s.core.log.Warn("memcached connections can be closed only, not reset: a write that failed may arrive later; give them NetConn or SyscallConn",
			observe.Endpoint(s.address), "type", fmt.Sprintf("%T", conn))
	}
	return conn, err
}

// dialSafely dials with the caller's function, whose panic must not end the process: it runs on a
// goroutine of ours.
func (c *core) dialSafely(ctx context.Context, network, address string) (conn net.Conn, err error) {
	defer func() {
		if p := recover(); p != nil {
			conn, err = nil, fmt.Errorf("memcache: DialContext panicked: %v", p)
		}
	}()
	conn, err = c.options.DialContext(ctx, network, address)
	if conn == nil && err == nil {
		return nil, errors.New("memcache: DialContext returned neither a connection nor an error")
	}
	return conn, err
}

// dialFault classifies. A dial that ran out of time says little if the server answered others
// meanwhile: one lost packet is enough for that. A shortage of this machine's own says nothing
// about the server.
func (s *server) dialFault(ctx context.Context, err error, began int64) *faults.Fault {
	var known *faults.Fault
	switch {
	case ctx.Err() != nil || errors.Is(err, errElsewhere):
		return faults.Blameless(err)
	case errors.As(err, &known):
		return known
	case faults.IsMisconfigured(err) && s.answers():
		return faults.Blameless(err) // a login that lives is worth more than one that is refused
	}
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		err = fmt.Errorf("%w: %w", &ConnectTimeoutError{Addr: addresses.Addr{NetworkName: s.network, Text: s.address}}, err)
		if s.lastRead.Load() > began {
			return faults.Soft(err)
		}
		return faults.Hard(err)
	}
	for _, local := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, local) {
			return faults.Soft(err)
		}
	}
	return faults.Hard(err)
}

// answers reports whether a connection lives that has brought an answer.
func (s *server) answers() bool {
	for _, l := range s.liveLines() {
		if l.worked.Load() {
			return true
		}
	}
	return false
}
