package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

type dialing func(ctx context.Context) (net.Conn, error)

// Dial opens a connection to the server's home. The error is a fault.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) { return s.open(ctx, s.dialHome) }

// open opens a connection within the time limit of a call. The error is a fault.
func (s *Server) open(ctx context.Context, dial dialing) (net.Conn, error) {
	began := s.Env.Now()
	limited, cancel := context.WithTimeout(ctx, s.Env.config.Timeout)
	defer cancel()
	conn, err := dial(limited)
	if err == nil {
		return conn, nil
	}
	f := s.dialFault(ctx, err, began)
	f.Dialling = true
	return nil, f
}

// knock dials one address.
func (s *Server) knock(ctx context.Context, address string) (net.Conn, error) {
	began := s.Env.Now()
	conn, err := s.Env.dialSafely(ctx, s.Network, address)
	if err == nil {
		s.Pace.Guess(s.Env.Now() - began)
		conn, err = s.secured(ctx, conn)
	}
	s.Metrics.dialed(err)
	if err == nil && !sockets.Resettable(conn) && s.Env.unresettable.CompareAndSwap(false, true) {
		s.Env.Log.Warn("memcached connections can be closed only, not reset: a write that failed may arrive later; give them NetConn or SyscallConn",
			observe.Endpoint(s.Address), "type", fmt.Sprintf("%T", conn))
	}
	return conn, err
}

// dialFault classifies. A dial that ran out of time says little if the server answered others
// meanwhile: one lost packet is enough for that. A shortage of this machine's own says nothing
// about the server.
func (s *Server) dialFault(ctx context.Context, err error, began int64) *faults.Fault {
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
		err = fmt.Errorf("%w: %w", &gomemcache.ConnectTimeoutError{Addr: addresses.Addr{NetworkName: s.Network, Text: s.Address}}, err)
		if s.lastRead.Load() > began {
			return faults.Soft(err)
		}
		return faults.Hard(err)
	}
	if observe.IsShortage(err) {
		return faults.Soft(err)
	}
	return faults.Hard(err)
}

// answers reports whether a connection lives that has brought an answer.
func (s *Server) answers() bool {
	for _, l := range s.liveLines() {
		if l.worked.Load() {
			return true
		}
	}
	return false
}
