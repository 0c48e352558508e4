package server

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

// Server is one memcached: its breaker, its connections, its watch and the writes it missed.
type Server struct {
	Env     *Env
	Network string // "tcp" or networkUnix
	Address string
	Label   string // address as the metrics show it
	Breaker *breaker.Breaker
	strikes faults.Strikes
	Ramp    limits.Ramp
	watch   watch
	home    home
	Pace    limits.Pace
	endings endings
	Missed  *MissedLog
	Window  phases.Window
	meta    metaKnowledge
	Seed    uint64       // of its scores as a holder of copies
	Guests  atomic.Int64 // calls under way for other servers
	Metrics serverMetrics
	slots   chan struct{} // bounds private connections

	current     atomic.Pointer[line] // where requests go; nil: the next one dials
	beside      beside               // where GetMultis with large replies go
	untried     untried              // where commands go that it has not answered yet
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

// NewServer returns a server without connections yet, with the writes it missed in a former life.
func (e *Env) NewServer(id addresses.Addr, label string, missed *MissedLog) *Server {
	s := &Server{
		Env: e, Network: id.NetworkName, Address: id.Text, Label: label, Missed: missed,
		lines: make(map[*line]struct{}), privates: make(map[net.Conn]struct{}),
		slots: make(chan struct{}, max(LeastSlots, e.config.MaxIdleConns)),
	}
	s.Ramp.Init(e.config.MaxInFlight)
	s.Seed = placement.Seed(id.Text)
	s.home.init(e, id.Text)
	s.watch.init(s)
	s.Breaker = e.newBreaker(s)
	return s
}

// LeastSlots is how many private connections a server may have at least.
const LeastSlots = 64

// Heard takes note that bytes have arrived, and returns the time.
func (s *Server) Heard() int64 {
	now := s.Env.Now()
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

func (s *Server) askAlone(limit time.Duration) {
	until := s.Env.Now() + int64(limit)
	for was := s.aloneUntil.Load(); was < until && !s.aloneUntil.CompareAndSwap(was, until); was = s.aloneUntil.Load() {
	}
}

// asksAlone reports whether a call that began then must not share its line.
func (s *Server) asksAlone(start int64) bool { return start < s.aloneUntil.Load() }

// Flight is one call between begin and finish. The request is not part of it, so that it can stay
// on its caller's stack.
type Flight struct {
	call       *call
	generation uint64
	start      int64
	given      int64 // since when this server has its time for it, if the call began long before; else 0
	permit     breaker.Permit
	err        error // why it could not be sent
}

// ErrRefused is the hot path's answer while a server is down; faces translate it.
var ErrRefused = errors.New("memcache: refused while down")

// Outcome is what became of a call.
type Outcome struct {
	Item    *gomemcache.Item
	Items   []*gomemcache.Item // GetMulti
	Number  uint64             // Increment, Decrement
	Err     error
	Sent    bool  // a byte of the request may have reached the server
	Replied bool  // err, if any, is the server's answer
	ended   int64 // when, in nanoseconds of the client's clock; 0: it was not tried
	place   place
	Began   int64 // when the call did, same clock; 0: just now
}

// Exchange makes one call.
func (s *Server) Exchange(ctx context.Context, r *protocol.Request) Outcome {
	if s.Env.Tracer != nil && !r.Own {
		return s.exchangeTraced(ctx, r)
	}
	permit, err := s.Admit(r)
	if err != nil {
		return RefusedOutcome(r, err)
	}
	f := s.Begin(ctx, permit, r)
	return s.Finish(ctx, &f, r)
}

// RefusedOutcome is that of a call that admit turned away.
func RefusedOutcome(r *protocol.Request, err error) Outcome {
	return Outcome{Err: err, Began: r.Began, Replied: err == gomemcache.ErrCacheMiss || errors.Is(err, gomemcache.ErrServerError)} //nolint:errorlint // the very value that admit gives.
}

// Admit lets a call in, or says why not: [ErrRefused], ErrBusy, ErrCacheMiss for a key whose
// value on the server may be old, or an [ErrServerError] for a command at which the server ends
// connections.
func (s *Server) Admit(r *protocol.Request) (breaker.Permit, error) {
	if r.Op.Rare() {
		if err := s.endings.refusal(r.Op, s.Env.Now); err != nil {
			s.Metrics.CountCall(r, resultServerError, 0)
			return breaker.Permit{}, err
		}
	}
	permit, err := s.Breaker.Allow()
	if err != nil {
		s.Metrics.CountCall(r, ResultRefused, 0)
		s.NoteMissed(r, Outcome{})
		return permit, ErrRefused
	}
	if r.Op.Reads() && s.Missed.Holds(r.Key) {
		permit.Done(faults.ErrSettled)
		s.Metrics.CountCall(r, ResultMiss, 0)
		return permit, gomemcache.ErrCacheMiss
	}
	if !s.Ramp.Enter(s.Env.Now) {
		permit.Done(faults.ErrSettled)
		s.Metrics.CountCall(r, resultBusy, 0)
		s.NoteMissed(r, Outcome{})
		return permit, faults.ErrBusy
	}
	return permit, nil
}

// Begin sends a call that was admitted; finish must follow.
func (s *Server) Begin(ctx context.Context, permit breaker.Permit, r *protocol.Request) Flight {
	f := Flight{call: s.Env.calls.take(), permit: permit, start: s.Env.Now()}
	s.watch.arm()
	if r.Began != 0 {
		f.err = s.resume(&f, r.Began)
	}
	if f.err == nil && !isLarge(r) {
		f.err = s.send(ctx, &f, r)
	}
	return f
}

// resume gives a call the time that the requests before it have left, if any is. What they took
// says nothing about this server.
func (s *Server) resume(f *Flight, began int64) error {
	now, end := f.start, began+int64(s.Env.config.Timeout)
	f.start = began
	if now >= end {
		return faults.ErrTimeout
	}
	if now-began > int64(watchSlack) {
		f.given = now
	}
	s.watch.hurry(end)
	return nil
}

// resend sends a call that has used up some of its time.
func (s *Server) resend(ctx context.Context, f *Flight, r *protocol.Request) error {
	s.watch.hurry(f.start + int64(s.Env.config.Timeout))
	return s.send(ctx, f, r)
}

// Finish waits for the outcome, retries once where that is safe, and keeps the books.
func (s *Server) Finish(ctx context.Context, f *Flight, r *protocol.Request) Outcome {
	err := s.await(ctx, f, r)
	for !f.call.replied && err != nil && s.again(ctx, f, r, err) {
		r.Again = r.Again || r.Alone || !errors.Is(err, gomemcache.ErrServerError) // else its shared line was refused, and it was not tried itself yet
		r.Alone = true
		if !isLarge(r) {
			f.err = s.resend(ctx, f, r)
		}
		err = s.await(ctx, f, r)
	}
	out := Outcome{f.call.item, f.call.items, f.call.number, err, f.call.sent, f.call.replied, f.call.ended, f.call.place, f.start}
	s.book(f, r, &out)
	return out
}

// book counts a call that has ended and releases its resources.
func (s *Server) book(f *Flight, r *protocol.Request, out *Outcome) {
	s.Env.calls.put(f.call)
	s.Ramp.Leave()
	if out.ended == 0 {
		out.ended = s.Env.Now()
	}
	if !r.Own {
		s.Env.Histograms.tried(r, out, out.ended-f.start)
	}
	if out.Replied {
		s.answered(r.Op)
		f.permit.Done(nil)
		s.Ramp.Succeeded(s.Env.Now)
		s.Metrics.CountCall(r, resultOf(r.Op, out.Err), len(out.Items))
		return
	}
	f.permit.Done(faults.ErrSettled) // the connection's end was charged already, once for all calls on it
	s.Metrics.CountCall(r, resultOfFailure(out.Err), len(out.Items))
	s.NoteMissed(r, *out)
}

func (s *Server) await(ctx context.Context, f *Flight, r *protocol.Request) error {
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
		if err := s.resend(ctx, f, r); err != nil {
			f.call.err = err
			return err
		}
	}
	return f.call.wait(ctx, f.generation)
}

// again decides on the one retry: the connection went down with the call, the server is not known
// to be down, and sending twice does no harm.
func (s *Server) again(ctx context.Context, f *Flight, r *protocol.Request, err error) bool {
	var lost *faults.Fault
	if r.Again || !errors.As(err, &lost) || lost.Dialling || ctx.Err() != nil {
		return false
	}
	if f.call.sent && !r.Op.Repeatable() {
		return false
	}
	return !s.IsDown() && s.Env.Now()-f.start < int64(s.Env.config.Timeout)
}

// send puts the request on the pipelined connection. While that is full, it waits.
func (s *Server) send(ctx context.Context, f *Flight, r *protocol.Request) error {
	f.generation = f.call.begin()
	f.call.given = f.given
	for {
		err := s.trySend(f, r)
		if err == nil {
			return nil
		}
		var full fullLine
		if !errors.As(err, &full) {
			return err
		}
		left := time.Duration(f.start + int64(s.Env.config.Timeout) - s.Env.Now())
		if !waitFor(ctx, full.room, left) {
			return cmp.Or(ctx.Err(), faults.ErrBusy)
		}
		s.watch.hurry(f.start + int64(s.Env.config.Timeout))
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

func (s *Server) trySend(f *Flight, r *protocol.Request) error {
	var err error
	for range 3 { // a line may end or retire between the two steps
		l, unusable := s.line(s.placeOf(r))
		if unusable != nil {
			return unusable
		}
		err = l.enqueue(r, f.call, f.generation, f.start)
		var lost *faults.Fault
		if err == nil || errors.Is(err, faults.ErrBusy) || errors.As(err, &lost) && lost.Dialling {
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
func (s *Server) line(kept *atomic.Pointer[line]) (*line, error) {
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
	ctx, cancel := context.WithCancel(s.Env.Ctx)
	l := &line{server: s, cancel: cancel, kept: kept, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	s.lines[l] = struct{}{}
	kept.Store(l)
	s.Env.running.Go(func() { l.run(ctx) })
	return l, nil
}

// forget drops a line that ended with err, and charges err.
func (s *Server) forget(l *line, err error) {
	s.leave(l)
	s.untried.ended(l, err)
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

// charge reports what ended a connection to the breaker. A server that turns connections away, as
// it is full, is up if it answers on another: probes would be turned away, too.
func (s *Server) charge(err error) {
	if errors.Is(err, faults.ErrTooManyConns) && s.answers() {
		return
	}
	s.strikes.Charge(s.Breaker, err, s.Env.Now())
	if faults.Classify(err) != breaker.Ignored {
		s.Env.Unanswered.failed()
	}
}

func (s *Server) liveLines() []*line {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]*line, 0, len(s.lines))
	for l := range s.lines {
		lines = append(lines, l)
	}
	return lines
}
