// Package replica serves reads from the replicas of a primary that are not too old.
package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// replicaInterval is how often a replica is asked whether it may serve; more often if a bound
	// in time wants that.
	replicaInterval = time.Second
	// alike is by how much the latencies of replicas may differ that count as equal, as a part of
	// the least, or by itself: less is chance.
	alike      = 0.2
	alikeAtAll = 100 * time.Microsecond
)

// Policy says which of those that may serve does. Its constants are those of
// sentinel.ReplicaPolicy.
type Policy int

// The policies.
const (
	Random Policy = iota
	RoundRobin
	LowestLatency
)

// Config is what sentinel.Options say of replicas, and Patience how long a question may take.
type Config struct {
	Policy       Policy
	Only         bool // the primary does not serve in their place
	MaxStaleness time.Duration
	MaxLag       int64 // bytes
	Patience     time.Duration
}

// Set is the replicas of one name. Connections to them are opened once the first command is for a
// replica.
type Set struct {
	Config

	primary *route.Route
	began   time.Time
	used    atomic.Bool
	turn    atomic.Uint64
	ready   atomic.Pointer[[]*Replica] // those that may serve
	changed signals.Notifier
	marks   marks

	mu     sync.Mutex
	listed []follow.Replica    // as the sentinels say; guarded by mu
	kept   map[string]*Replica // guarded by mu
}

// Replica is a connection to one replica that is kept up.
type Replica struct {
	set      *Set
	addr     string
	cancel   context.CancelFunc
	wake     signals.Waker
	conn     atomic.Pointer[wire.Conn] // nil while it may not serve
	heard    atomic.Int64              // when anything was last read on conn
	latency  atomic.Int64              // of its heartbeats, smoothed, in nanoseconds
	judged   atomic.Bool
	fresh    time.Time // it has everything that its primary had written until then; zero: nobody knows
	inquirer access.Inquirer
	told     bool // the log has why it is not used
}

// New returns the replicas of a primary.
func New(p *route.Route, c Config) *Set {
	s := &Set{Config: c, primary: p, began: time.Now(), kept: make(map[string]*Replica)}
	s.ready.Store(&[]*Replica{})
	return s
}

// Update takes in the replicas that most sentinels list.
func (s *Set) Update(v follow.View) {
	listed := slices.Clone(v.Replicas)
	slices.SortFunc(listed, func(a, b follow.Replica) int { return cmp.Compare(a.Addr, b.Addr) })
	s.mu.Lock()
	if v.Reports > 0 || s.listed == nil {
		s.listed = listed
	}
	s.mu.Unlock()
	s.keep()
}

// keep opens and closes connections as listed, if replicas are used at all.
//
//nolint:contextcheck // the connections outlive the call that was the first to need them.
func (s *Set) keep() {
	if !s.used.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, r := range s.kept {
		if !slices.ContainsFunc(s.listed, func(x follow.Replica) bool { return x.Addr == addr }) {
			r.cancel()
			delete(s.kept, addr)
		}
	}
	for _, x := range s.listed {
		if s.kept[x.Addr] == nil {
			ctx, cancel := context.WithCancel(s.primary.Context)
			r := &Replica{set: s, addr: x.Addr, cancel: cancel, wake: signals.NewWaker(), inquirer: access.NewInquirer(s.primary.Servers)}
			s.kept[x.Addr] = r
			s.primary.Spawn(func() { r.keep(ctx) })
		}
	}
}

// Listed are the replicas that most sentinels list, by address.
func (s *Set) Listed() []follow.Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listed)
}

// publish makes the list of those that may serve anew.
func (s *Set) publish() {
	s.mu.Lock()
	var ready []*Replica
	for _, r := range s.kept {
		if r.conn.Load() != nil {
			ready = append(ready, r)
		}
	}
	slices.SortFunc(ready, func(a, b *Replica) int { return cmp.Compare(a.addr, b.addr) })
	s.ready.Store(&ready)
	s.mu.Unlock()
	s.changed.Notify()
}

// keep holds a connection to the replica, and asks every second whether it may serve.
func (r *Replica) keep(ctx context.Context) {
	retry := backoff.Exponential{Base: 50 * time.Millisecond, Cap: replicaInterval, Factor: 2}
	var conn *wire.Conn
	defer func() {
		r.conn.Store(nil)
		if conn != nil {
			conn.End(r.set.primary.Servers.Retired())
		}
		r.set.publish()
	}()
	for attempt := 0; ; {
		var err error
		if conn == nil || conn.Err() != nil {
			conn, err = r.set.primary.Servers.Connect(ctx, r.addr, wire.Options{Heard: &r.heard, OnEnd: func(error) { r.wake.Wake() }})
		}
		if err == nil {
			err = r.check(ctx, conn)
		}
		r.serve(conn, err)
		pause := r.set.interval()
		if err != nil {
			pause = retry.Delay(attempt)
			attempt++
		} else {
			attempt = 0
		}
		if !signals.Sleep(ctx, pause, r.wake) {
			return
		}
	}
}

// serve publishes whether the replica may serve.
func (r *Replica) serve(conn *wire.Conn, err error) {
	was := r.conn.Load()
	if err != nil {
		conn = nil
	}
	r.conn.Store(conn)
	if first := r.judged.CompareAndSwap(false, true); first || (was == nil) != (conn == nil) {
		r.set.publish()
	}
}

// check asks whether the replica is one, is linked to its primary, and not too far behind. One that
// does not answer in time loses its connection, and the calls on it.
func (r *Replica) check(ctx context.Context, conn *wire.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, r.set.Patience)
	defer cancel()
	began := time.Now()
	marks := r.set.mark(began)
	is, err := r.inquirer.Ask(ctx, conn)
	if err != nil {
		conn.End(err)
		return err
	}
	r.smooth(time.Since(began))
	limit := r.set.MaxLag
	switch lag := r.set.primary.Offset.Load() - is.Offset; {
	case is.Primary:
		return errors.New("it is a primary")
	case !is.Linked && r.set.primary.Seat().Err == nil:
		return errors.New("it has lost its primary")
	case limit > 0 && (is.Curt || r.set.primary.Curt.Load()):
		return r.untold(conn)
	case limit > 0 && lag > limit:
		return fmt.Errorf("it is %d bytes behind", lag)
	}
	return r.checkAge(conn, marks, is)
}

// checkAge reports whether the replica has what the primary had written a while ago. While there is
// no primary nothing is written.
func (r *Replica) checkAge(conn *wire.Conn, of marks, is access.Role) error {
	p := r.set.primary
	limit := r.set.MaxStaleness
	if limit < 0 || p.Seat().Err != nil {
		return nil
	}
	if is.Curt || p.Curt.Load() {
		return r.untold(conn)
	}
	if at, ok := of.reached(is.Offset); ok && at.After(r.fresh) {
		r.fresh = at
	}
	if age := time.Since(r.fresh); age > limit {
		return fmt.Errorf("it lacks what was written %v ago", min(age, time.Since(r.set.began)).Round(time.Millisecond))
	}
	return nil
}

var errUntold = errors.New("how old its data are is not known, as the user may send neither ROLE nor INFO to it, or to the primary; Options.MaxStaleness < 0 and MaxLag 0 would use it anyway")

// untold says that nobody can tell how old the replica's data are, and once to the log.
func (r *Replica) untold(conn *wire.Conn) error {
	p := r.set.primary
	err := access.Permit(p.Servers.UserOf(conn), errUntold, "role")
	if !r.told {
		r.told = true
		p.Log.Warn("replica not used", observe.Endpoint(p.Name), "addr", r.addr, observe.Cause(err))
	}
	return err
}

func (r *Replica) smooth(d time.Duration) {
	if old := r.latency.Load(); old != 0 {
		d = (3*time.Duration(old) + d) / 4
	}
	r.latency.Store(int64(d))
}

// interval is how often replicas are asked.
func (s *Set) interval() time.Duration {
	if limit := s.MaxStaleness; limit > 0 {
		return min(replicaInterval, limit/4)
	}
	return replicaInterval
}

// mark notes how much the primary has written by now, and returns the latest marks.
func (s *Set) mark(now time.Time) marks {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := max(s.interval()/4, s.MaxStaleness*2/maxMarks)
	s.marks = s.marks.add(mark{generation: s.primary.Seat().Generation, offset: s.primary.Offset.Load(), at: now}, least)
	return s.marks
}

// Healthy are those that may serve.
func (s *Set) Healthy() []*Replica { return *s.ready.Load() }

// Do performs an action on a replica, or on the primary if no replica may serve.
func (s *Set) Do(ctx context.Context, a radix.Action) error {
	if s.used.CompareAndSwap(false, true) {
		s.keep()
	}
	if err := s.await(ctx); err != nil {
		return err
	}
	for _, r := range s.order() {
		err := r.Do(ctx, a)
		if f := outcome.Unused(err); f == nil {
			return err
		}
	}
	if s.Only {
		return fmt.Errorf("%w: %w: primary %q", outcome.ErrNoReplica, outcome.ErrNotSent, s.primary.Name)
	}
	return s.primary.Perform(ctx, a)
}

// await waits for the first verdict on replicas that have just begun to be used.
func (s *Set) await(ctx context.Context) error {
	for {
		changed := s.changed.Wait()
		if len(s.Healthy()) > 0 || s.allJudged() {
			return nil
		}
		select {
		case <-changed:
		case <-s.primary.Context.Done():
			return s.primary.NoPrimary(outcome.ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", outcome.ErrNotSent, ctx.Err())
		}
	}
}

func (s *Set) allJudged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.kept {
		if !r.judged.Load() {
			return false
		}
	}
	return true
}

// order returns the replicas that may serve, the one to ask first at the front.
func (s *Set) order() []*Replica {
	all := s.Healthy()
	if len(all) < 2 {
		return all
	}
	first := 0
	switch s.Policy {
	case Random:
		first = rand.IntN(len(all))
	case RoundRobin:
		first = int(s.turn.Add(1) % uint64(len(all)))
	case LowestLatency:
		first = fastest(all)
	}
	return slices.Concat(all[first:], all[:first])
}

// fastest picks one of those that are about as fast as the fastest, by chance: a strict minimum
// would send all clients to one, whose lead is often no more than chance.
func fastest(all []*Replica) (picked int) {
	least := all[0].latency.Load()
	for _, r := range all[1:] {
		least = min(least, r.latency.Load())
	}
	most, n := max(least+int64(alike*float64(least)), least+int64(alikeAtAll)), 0
	for i, r := range all {
		if r.latency.Load() > most {
			continue
		}
		if n++; rand.IntN(n) == 0 {
			picked = i
		}
	}
	return picked
}
