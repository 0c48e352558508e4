package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

const (
	// probeMargin is the time that a probe may take beyond its limit before it is abandoned: a
	// dialer may not honour its context.
	probeMargin = time.Second
)

// probeDelay spaces the probes: close for a server that refuses, which costs it nothing; wider for
// one that hangs; widest where somebody has to mend something first.
func probeDelay(cause error, attempt int) time.Duration {
	if faults.IsMisconfigured(cause) {
		return backoff.Exponential{Base: time.Second, Factor: 2, Cap: 30 * time.Second}.Delay(attempt)
	}
	limit := 250 * time.Millisecond
	if errors.Is(cause, faults.ErrHung) || errors.Is(cause, breaker.ErrProbeTimeout) || faults.IsTimeout(cause) {
		limit = time.Second
	}
	return backoff.Exponential{Base: 20 * time.Millisecond, Factor: 1.5, Cap: limit}.Delay(attempt)
}

// probe asks a server that is down whether it is back. Why it is not is what callers are told from
// then on.
func (s *Server) probe(ctx context.Context) error {
	limit := s.Env.limits.ProbeTime(s.Pace.Seen(), int(s.probes.Add(1)-1))
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := s.Env.Now()
	err := s.ask(limited, s.dialProbe)
	if err == nil {
		s.Pace.Saw(s.Env.Now() - began)
		s.Env.Unanswered.End()
		return nil
	}
	if limited.Err() != nil {
		err = fmt.Errorf("no answer to a probe within %v: %w", limit.Round(time.Millisecond), err)
	}
	s.stillDown(err)
	return err
}

// stillDown replaces the cause of an outage with that of the last probe's failure.
func (s *Server) stillDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		s.down = newDownState(s.down.Since, err)
	}
}

// dialProbe dials where the server may be, and makes that its home.
func (s *Server) dialProbe(ctx context.Context) (net.Conn, error) {
	if s.home.host == "" {
		return s.dialShared(ctx)
	}
	at := s.home.ip()
	addrs, err := s.addressesAgain(ctx)
	if err != nil && !at.IsValid() {
		return nil, err
	}
	down := s.DownNow()
	inGrace := down == nil || time.Since(down.Since) < s.Env.Grace
	return s.knock(ctx, s.home.join(candidate(at, addrs, inGrace, int(s.probes.Load()))))
}

// ask asks on a fresh connection for the version and for a key: a proxy may answer the one while
// the other hangs. One that ends the connection at the version does not know that command: it is
// asked for the key alone.
func (s *Server) ask(ctx context.Context, dial dialing) error {
	err := s.askFor(ctx, dial, protocol.VersionRequest)
	if errors.Is(err, io.EOF) && ctx.Err() == nil {
		if s.askFor(ctx, dial, "") == nil {
			return nil
		}
	}
	return err
}

func (s *Server) askFor(ctx context.Context, dial dialing, first string) error {
	c, err := s.openSession(ctx, dial)
	if err != nil {
		return err
	}
	defer c.hangUp()
	if err := c.greet(first); err != nil {
		if faults.IsTimeout(err) {
			return fmt.Errorf("%w: %w", faults.ErrHung, err)
		}
		return err
	}
	s.versionless.Store(first == "")
	if first != "" {
		s.answered(protocol.OpPing)
	}
	s.settleAt(c.conn)
	return nil
}

func (e *Env) newBreaker(s *Server) *breaker.Breaker {
	o := breaker.Options{
		Kind:                metrics.KindMemcached,
		Endpoint:            s.Label,
		ConsecutiveFailures: 3,
		Probe:               s.probe,
		ProbeTimeout:        e.limits.LongestProbe() + probeMargin,
		OnReady:             s.makeReady,
		ReadyTimeout:        replayTime,
		Backoff:             probeDelay,
		Classify:            faults.Classify,
		OnStateChange:       s.changed,
	}
	if n := e.config.ConsecutiveFailures; n > 0 {
		o.ConsecutiveFailures, o.HardFailures = n, -1
	}
	b, err := breaker.New(e.config.Name, o)
	if err != nil { // none of these is the caller's, but for what Options.validate has seen
		panic("memcache: " + err.Error())
	}
	return b
}
