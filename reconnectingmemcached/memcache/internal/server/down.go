package server

import (
	"net"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

// downState is why and since when a server is taken for down.
type downState struct {
	Since         time.Time
	Cause         error
	misconfigured bool // the cause is a wrong option rather than an outage
}

func newDownState(since time.Time, cause error) *downState {
	return &downState{since, cause, faults.IsMisconfigured(cause)}
}

func (s *Server) unusableLocked() error {
	switch {
	case s.closed:
		return faults.Blameless(faults.ErrClosed)
	case !s.IsDown():
		return nil
	case s.down != nil:
		return faults.Blameless(s.down.Cause)
	}
	return faults.Blameless(breaker.ErrOpen)
}

// IsDown asks the breaker, which knows first; down follows with the details.
func (s *Server) IsDown() bool { return IsDown(s.Breaker.State()) }

// changed follows the breaker: a server that goes down loses its connections and dials at once.
func (s *Server) changed(c breaker.Change) {
	switch c.To {
	case breaker.Open, breaker.ForcedOpen:
		s.fall(c)
	case breaker.Closed, breaker.ForcedClosed:
		s.rise(c)
	case breaker.HalfOpen:
	}
}

func (s *Server) fall(c breaker.Change) {
	cause := c.Cause
	if cause == nil {
		cause = breaker.ErrOpen
	}
	if s.Env.config.Windows {
		s.Window.Fall(s.Env.Now())
	}
	if s.Env.config.Fell != nil {
		s.Env.config.Fell()
	}
	s.mu.Lock()
	if s.down == nil {
		s.down = newDownState(c.At, cause)
		s.probes.Store(0)
		s.Env.Log.Warn("memcached server down", observe.Endpoint(s.Address), observe.Cause(cause))
	} else {
		s.down = newDownState(s.down.Since, cause)
	}
	s.mu.Unlock()
	s.cut(cause)
}

func (s *Server) rise(c breaker.Change) {
	if s.Env.config.Windows {
		s.Window.Rise(s.Env.Now(), s.Env.config.Linger, s.Env.config.Care)
	}
	s.mu.Lock()
	was := s.down
	s.down = nil
	s.mu.Unlock()
	if was == nil {
		return
	}
	s.Ramp.Begin(s.Env.Now())
	s.Env.Log.Info("memcached server up", observe.Endpoint(s.Address), observe.Duration(observe.KeyAfter, c.At.Sub(was.Since)))
	s.ReplaySoon()
}

// cut ends every connection and dial.
func (s *Server) cut(cause error) {
	s.mu.Lock()
	lines := make([]*line, 0, len(s.lines))
	for l := range s.lines {
		lines = append(lines, l)
	}
	conns := make([]net.Conn, 0, len(s.privates)+len(s.idle))
	for conn := range s.privates {
		conns = append(conns, conn)
	}
	for _, p := range s.idle {
		conns = append(conns, p.conn)
	}
	s.idle = nil
	s.mu.Unlock()
	for _, l := range lines {
		l.end(faults.Blameless(cause))
	}
	for _, conn := range conns {
		sockets.Discard(conn)
	}
}

// Close cuts all connections, for good.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.watch.halt()
	s.cut(faults.ErrClosed)
}

// DownNow returns nil while the server is not taken for down.
func (s *Server) DownNow() *downState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// DownCause is why the server is down. The breaker knows it first.
func (s *Server) DownCause() error {
	if down := s.DownNow(); down != nil {
		return faults.Plain(down.Cause)
	}
	if st := s.Breaker.Stats(); st.LastCause != nil && (st.State == breaker.Open || st.State == breaker.HalfOpen) {
		return faults.Plain(st.LastCause)
	}
	return breaker.ErrOpen
}

// NeverWorked tells a client whose options are wrong from one that meets with an outage: no server
// has answered it yet, and this one refuses its login or its certificate. Its reads say so, lest a
// wrong password look like a cold cache.
func (s *Server) NeverWorked(err error) bool {
	if s.Env.Unanswered.answered.Load() {
		return false
	}
	if err == ErrRefused { //nolint:errorlint // the very value that admit gives.
		if down := s.DownNow(); down != nil {
			return down.misconfigured
		}
		err = s.DownCause()
	}
	return err != breaker.ErrOpen && faults.IsMisconfigured(err) //nolint:errorlint // the very value; it must not cost an allocation.
}

// IsDown reports whether calls are refused in a state.
func IsDown(state breaker.State) bool {
	return state != breaker.Closed && state != breaker.ForcedClosed
}

// Phase is how the server stands.
func (s *Server) Phase() phases.Phase { return s.Window.Phase(s.Env.Now(), s.IsDown()) }
