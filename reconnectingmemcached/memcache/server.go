package memcache

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// server is one memcached: its breaker, its connections, its watch and the writes it missed.
type server struct {
	core    *core
	network string // "tcp" or networkUnix
	address string
	label   string // address as the metrics show it
	breaker *breaker.Breaker
	strikes faults.Strikes
	ramp    limits.Ramp
	watch   watch
	home    home
	pace    limits.Pace
	endings endings
	missed  *missedLog
	window  window
	meta    metaKnowledge
	seed    uint64       // of its scores as a holder of copies
	guests  atomic.Int64 // calls under way for other servers
	metrics serverMetrics
	slots   chan struct{} // bounds private connections

	current     atomic.Pointer[line] // where requests go; nil: the next one dials
	beside      beside               // where GetMultis with large replies go
	replaying   atomic.Bool          // a background replay is under way
	probes      atomic.Int64         // since it went down
	doubted     atomic.Bool          // a second opinion is being asked for
	versionless atomic.Bool          // it does not know the version command, as some proxies
	asking      atomic.Bool          // it is asked why a connection has ended
	aloneUntil  atomic.Int64         // until when calls do not share lines, in nanoseconds of the client's clock
	lastRead    atomic.Int64         // when a byte last arrived on any connection, in nanoseconds of the client's clock
	resolved    atomic.Int64         // when the host name was last looked up, same clock

	mu       sync.Mutex
	lines    map[*line]struct{}    // all that live, the current one and retired ones; guarded by mu
	privates map[net.Conn]struct{} // private connections in use and connections of Native; guarded by mu
	idle     []*private            // guarded by mu
	down     *downState            // nil while up, as last told by the breaker; guarded by mu
	closed   bool                  // guarded by mu
}

// downState is why and since when a server is taken for down.
type downState struct {
	since         time.Time
	cause         error
	misconfigured bool // the cause is a wrong option rather than an outage
}

func newDownState(since time.Time, cause error) *downState {
	return &downState{since, cause, faults.IsMisconfigured(cause)}
}

// heard takes note that bytes have arrived, and returns the time.
func (s *server) heard() int64 {
	now := s.core.now()
	s.lastRead.Store(now)
	return now
}

// aloneTime is how long calls do not share lines after an error line for several. Twemproxy ends
// the connection after one for several keys, and not after one for a single key, so that each
// shared line with a key of a dead backend would cost everybody the connection. If the end is
// noticed before that line is read, it is aloneAtEnd, in which calls are sent again.
const (
	aloneTime  = time.Minute
	aloneAtEnd = time.Second
)

func (s *server) askAlone(limit time.Duration) {
	until := s.core.now() + int64(limit)
	for was := s.aloneUntil.Load(); was < until && !s.aloneUntil.CompareAndSwap(was, until); was = s.aloneUntil.Load() {
	}
}

// asksAlone reports whether a call that began then must not share its line.
func (s *server) asksAlone(start int64) bool { return start < s.aloneUntil.Load() }

// flight is one call between begin and finish. The request is not part of it, so that it can stay
// on its caller's stack.
type flight struct {
	call       *call
	generation uint64
	start      int64
	permit     breaker.Permit
	err        error // why it could not be sent
}

// errRefused is the hot path's answer while a server is down; faces translate it.
var errRefused = errors.New("memcache: refused while down")

// outcome is what became of a call.
type outcome struct {
	item    *Item
	items   []*Item // GetMulti
	number  uint64  // Increment, Decrement
	err     error
	sent    bool  // a byte of the request may have reached the server
	replied bool  // err, if any, is the server's answer
	ended   int64 // when, in nanoseconds of the client's clock; 0: it was not tried
	place   place
	began   int64 // when the call did, same clock; 0: just now
}

// exchange makes one call.
func (s *server) exchange(ctx context.Context, r *protocol.Request) outcome {
	if s.core.tracer != nil && !r.Own {
		return s.exchangeTraced(ctx, r)
	}
	permit, err := s.admit(r)
	if err != nil {
		return refusedOutcome(err)
	}
	f := s.begin(ctx, permit, r)
	return s.finish(ctx, &f, r)
}

// refusedOutcome is that of a call that admit turned away.
func refusedOutcome(err error) outcome {
	return outcome{err: err, replied: err == ErrCacheMiss || errors.Is(err, ErrServerError)} //nolint:errorlint // the very value that admit gives.
}

// admit lets a call in, or says why not: errRefused, [ErrBusy], [ErrCacheMiss] for a key whose
// value on the server may be old, or an [ErrServerError] for a command at which the server ends
// connections.
func (s *server) admit(r *protocol.Request) (breaker.Permit, error) {
	if r.Op.Rare() {
		if err := s.endings.refusal(r.Op, s.core.now); err != nil {
			s.metrics.countCall(r, resultServerError, 0)
			return breaker.Permit{}, err
		}
	}
	permit, err := s.breaker.Allow()
	if err != nil {
		s.metrics.countCall(r, resultRefused, 0)
		s.noteMissed(r, outcome{})
		return permit, errRefused
	}
	if r.Op.Reads() && s.missed.holds(r.Key) {
		permit.Done(faults.ErrSettled)
		s.metrics.countCall(r, resultMiss, 0)
		return permit, ErrCacheMiss
	}
	if !s.ramp.Enter(s.core.now) {
		permit.Done(faults.ErrSettled)
		s.metrics.countCall(r, resultBusy, 0)
		s.noteMissed(r, outcome{})
		return permit, faults.ErrBusy
	}
	return permit, nil
}

// begin sends a call that was admitted; finish must follow.
func (s *server) begin(ctx context.Context, permit breaker.Permit, r *protocol.Request) flight {
	f := flight{call: s.core.calls.take(), permit: permit, start: s.core.now()}
	if r.Began != 0 {
		f.start = r.Began
	}
	s.watch.arm()
	if !isLarge(r) {
		f.err = s.send(ctx, &f, r)
	}
	return f
}

// finish waits for the outcome, retries once where that is safe, and keeps the books.
func (s *server) finish(ctx context.Context, f *flight, r *protocol.Request) outcome {
	err := s.await(ctx, f, r)
	for !f.call.replied && err != nil && s.again(ctx, f, r, err) {
		r.Again = r.Again || r.Alone || !errors.Is(err, ErrServerError) // else its shared line was refused, and it was not tried itself yet
		r.Alone = true
		f.err = s.send(ctx, f, r)
		err = s.await(ctx, f, r)
	}
	out := outcome{f.call.item, f.call.items, f.call.number, err, f.call.sent, f.call.replied, f.call.ended, f.call.place, f.start}
	s.book(f, r, &out)
	return out
}

// book counts a call that has ended and gives back what it held.
func (s *server) book(f *flight, r *protocol.Request, out *outcome) {
	s.core.calls.put(f.call)
	s.ramp.Leave()
	if out.ended == 0 {
		out.ended = s.core.now()
	}
	if !r.Own {
		s.core.histograms.tried(r, out, out.ended-f.start)
	}
	if out.replied {
		s.endings.answered(r.Op)
		f.permit.Done(nil)
		s.ramp.Succeeded(s.core.now)
		s.metrics.countCall(r, resultOf(r.Op, out.err), len(out.items))
		return
	}
	f.permit.Done(faults.ErrSettled) // the connection's end was charged already, once for all calls on it
	s.metrics.countCall(r, resultOfFailure(out.err), len(out.items))
	s.noteMissed(r, *out)
}

func (s *server) await(ctx context.Context, f *flight, r *protocol.Request) error {
	switch {
	case f.err != nil:
		f.call.err, f.call.sent, f.call.replied = f.err, false, false
		return f.err
	case isLarge(r):
		err := s.exchangePrivate(ctx, f, r)
		if !errors.Is(err, errElsewhere) {
			return err
		}
		// No connection beside the shared one goes to where that goes: the value takes its turn
		// there.
		if err := s.send(ctx, f, r); err != nil {
			f.call.err = err
			return err
		}
	}
	return f.call.wait(ctx, f.generation)
}

// again decides on the one retry: the connection went down with the call, the server is not known
// to be down, and sending twice does no harm.
func (s *server) again(ctx context.Context, f *flight, r *protocol.Request, err error) bool {
	var lost *faults.Fault
	if r.Again || !errors.As(err, &lost) || lost.Dial || ctx.Err() != nil {
		return false
	}
	if f.call.sent && !r.Op.Repeatable() {
		return false
	}
	return !s.isDown() && s.core.now()-f.start < int64(s.core.options.Timeout)
}

// send puts the request on the pipelined connection. While that is full, it waits.
func (s *server) send(ctx context.Context, f *flight, r *protocol.Request) error {
	f.generation = f.call.begin()
	for {
		err := s.trySend(f, r)
		if err == nil {
			return nil
		}
		var full fullLine
		if !errors.As(err, &full) {
			return err
		}
		left := time.Duration(f.start + int64(s.core.options.Timeout) - s.core.now())
		if !waitFor(ctx, full.room, left) {
			return cmp.Or(ctx.Err(), faults.ErrBusy)
		}
	}
}

// waitFor reports whether room came in time.
func waitFor(ctx context.Context, room <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-room:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (s *server) trySend(f *flight, r *protocol.Request) error {
	var err error
	for range 3 { // a line may end or retire between the two steps
		l, unusable := s.line(s.placeOf(r))
		if unusable != nil {
			return unusable
		}
		err = l.enqueue(r, f.call, f.generation, f.start)
		var lost *faults.Fault
		if err == nil || errors.Is(err, faults.ErrBusy) || errors.As(err, &lost) && lost.Dial {
			return err
		}
		s.leave(l)
	}
	return err
}

// line returns the pipelined connection that is kept in a place; a new one starts to dial. It
// outlives the call that needed it.
//
//nolint:contextcheck // see above.
func (s *server) line(kept *atomic.Pointer[line]) (*line, error) {
	if l := kept.Load(); l != nil {
		s.lookAgain()
		return l, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unusableLocked(); err != nil {
		return nil, err
	}
	if l := kept.Load(); l != nil {
		return l, nil
	}
	ctx, cancel := context.WithCancel(s.core.ctx)
	l := &line{server: s, cancel: cancel, isSecond: kept != &s.current, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	s.lines[l] = struct{}{}
	kept.Store(l)
	s.core.running.Go(func() { l.run(ctx) })
	return l, nil
}

func (s *server) unusableLocked() error {
	switch {
	case s.closed:
		return faults.Blameless(faults.ErrClosed)
	case !s.isDown():
		return nil
	case s.down != nil:
		return faults.Blameless(s.down.cause)
	}
	return faults.Blameless(breaker.ErrOpen)
}

// isDown asks the breaker, which knows first; down follows with the details.
func (s *server) isDown() bool { return isDown(s.breaker.State()) }

// forget drops a line that ended with err, and charges err.
func (s *server) forget(l *line, err error) {
	s.leave(l)
	s.mu.Lock()
	delete(s.lines, l)
	var stale []*private
	if !errors.Is(err, faults.ErrRetired) {
		stale, s.idle = s.idle, nil // what ended the one has most likely ended the others
	}
	s.mu.Unlock()
	for _, p := range stale {
		sockets.Discard(p.conn)
	}
	s.charge(err)
}

// charge reports what ended a connection to the breaker.
func (s *server) charge(err error) {
	s.strikes.Charge(s.breaker, err, s.core.now())
	if faults.Classify(err) != breaker.Ignored {
		s.core.unanswered.failed()
	}
}

// changed follows the breaker: a server that goes down loses its connections and dials at once.
func (s *server) changed(c breaker.Change) {
	switch c.To {
	case breaker.Open, breaker.ForcedOpen:
		s.fall(c)
	case breaker.Closed, breaker.ForcedClosed:
		s.rise(c)
	case breaker.HalfOpen:
	}
}

func (s *server) fall(c breaker.Change) {
	cause := c.Cause
	if cause == nil {
		cause = breaker.ErrOpen
	}
	if s.core.opensWindows() {
		s.window.fall(s.core.now())
	}
	if s.core.gutter != nil {
		s.core.gutter.fell()
	}
	s.mu.Lock()
	if s.down == nil {
		s.down = newDownState(c.At, cause)
		s.probes.Store(0)
		s.core.log.Warn("memcached server down", observe.Endpoint(s.address), observe.Cause(cause))
	} else {
		s.down = newDownState(s.down.since, cause)
	}
	s.mu.Unlock()
	s.cut(cause)
}

func (s *server) rise(c breaker.Change) {
	if s.core.opensWindows() {
		s.window.rise(s.core.now(), s.core.options.Linger, s.core.careTime())
	}
	s.mu.Lock()
	was := s.down
	s.down = nil
	s.mu.Unlock()
	if was == nil {
		return
	}
	s.ramp.Begin(s.core.now())
	s.core.log.Info("memcached server up", observe.Endpoint(s.address), observe.Duration(observe.KeyAfter, c.At.Sub(was.since)))
	s.replaySoon()
}

// cut ends every connection and dial.
func (s *server) cut(cause error) {
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

func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.watch.stop()
	s.cut(faults.ErrClosed)
}

// downNow returns nil while the server is not taken for down.
func (s *server) downNow() *downState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}
