package sentinel

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
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// replicaInterval is how often a replica is asked whether it may serve; more often if a bound in time wants that.
	replicaInterval = time.Second
	// alike is by how much the latencies of replicas may differ that count as equal, as a part of the least, or by itself: less is chance.
	alike      = 0.2
	alikeAtAll = 100 * time.Microsecond
)

// replicaSet is the replicas of one name. Connections to them are opened once the first command is for a replica.
type replicaSet struct {
	primary *primary
	used    atomic.Bool
	turn    atomic.Uint64
	ready   atomic.Pointer[[]*replica] // those that may serve
	changed notifier
	marks   marks

	mu     sync.Mutex
	listed []Replica           // as the sentinels say; guarded by mu
	kept   map[string]*replica // guarded by mu
}

// replica is a connection to one replica that is kept up.
type replica struct {
	set      *replicaSet
	addr     string
	cancel   context.CancelFunc
	wake     chan struct{}
	conn     atomic.Pointer[wire.Conn] // nil while it may not serve
	heard    atomic.Int64              // when anything was last read on conn
	latency  atomic.Int64              // of its heartbeats, smoothed, in nanoseconds
	judged   atomic.Bool
	fresh    time.Time // it has everything that its primary had written until then; zero: nobody knows
	inquirer inquirer
	told     bool // the log has why it is not used
}

func newReplicaSet(p *primary) *replicaSet {
	s := &replicaSet{primary: p, kept: make(map[string]*replica)}
	s.ready.Store(&[]*replica{})
	return s
}

// update takes in what most sentinels list.
func (s *replicaSet) update(v follow.View) {
	var listed []Replica
	for _, r := range v.Replicas {
		listed = append(listed, Replica{Addr: r.Addr, Usable: r.Usable})
	}
	slices.SortFunc(listed, func(a, b Replica) int { return cmp.Compare(a.Addr, b.Addr) })
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
func (s *replicaSet) keep() {
	if !s.used.Load() {
		return
	}
	c := s.primary.client
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, r := range s.kept {
		if !slices.ContainsFunc(s.listed, func(x Replica) bool { return x.Addr == addr }) {
			r.cancel()
			delete(s.kept, addr)
		}
	}
	for _, x := range s.listed {
		if s.kept[x.Addr] == nil {
			ctx, cancel := context.WithCancel(c.ctx)
			r := &replica{set: s, addr: x.Addr, cancel: cancel, wake: make(chan struct{}, 1), inquirer: inquirer{servers: c.servers}}
			s.kept[x.Addr] = r
			c.spawn(func() { r.keep(ctx) })
		}
	}
}

func (s *replicaSet) snapshot() []Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listed)
}

// publish makes the list of those that may serve anew.
func (s *replicaSet) publish() {
	s.mu.Lock()
	var ready []*replica
	for _, r := range s.kept {
		if r.conn.Load() != nil {
			ready = append(ready, r)
		}
	}
	slices.SortFunc(ready, func(a, b *replica) int { return cmp.Compare(a.addr, b.addr) })
	s.ready.Store(&ready)
	s.mu.Unlock()
	s.changed.notify()
}

// keep holds a connection to the replica, and asks every second whether it may serve.
func (r *replica) keep(ctx context.Context) {
	retry := backoff.Exponential{Base: 50 * time.Millisecond, Cap: replicaInterval, Factor: 2}
	var conn *wire.Conn
	defer func() {
		r.conn.Store(nil)
		if conn != nil {
			conn.End(r.set.primary.client.retired())
		}
		r.set.publish()
	}()
	for attempt := 0; ; {
		var err error
		if conn == nil || conn.Err() != nil {
			conn, err = r.set.primary.client.servers.connect(ctx, r.addr, wire.Options{Heard: &r.heard, OnEnd: func(error) { signal(r.wake) }})
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
		if !sleep(ctx, pause, r.wake) {
			return
		}
	}
}

// serve publishes whether the replica may serve.
func (r *replica) serve(conn *wire.Conn, err error) {
	was := r.conn.Load()
	if err != nil {
		conn = nil
	}
	r.conn.Store(conn)
	if first := r.judged.CompareAndSwap(false, true); first || (was == nil) != (conn == nil) {
		r.set.publish()
	}
}

// check asks whether the replica is one, is linked to its primary, and not too far behind. One that does not answer in time loses its
// connection, and the calls on it.
func (r *replica) check(ctx context.Context, conn *wire.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, r.set.primary.client.roleTimeout())
	defer cancel()
	began := time.Now()
	marks := r.set.mark(began)
	is, err := r.inquirer.ask(ctx, conn)
	if err != nil {
		conn.End(err)
		return err
	}
	r.smooth(time.Since(began))
	limit := r.set.primary.client.options.MaxLag
	switch lag := r.set.primary.offset.Load() - is.offset; {
	case is.primary:
		return errors.New("it is a primary")
	case !is.linked && r.set.primary.seat.Load().err == nil:
		return errors.New("it has lost its primary")
	case limit > 0 && (is.curt || r.set.primary.curt.Load()):
		return r.untold(conn)
	case limit > 0 && lag > limit:
		return fmt.Errorf("it is %d bytes behind", lag)
	}
	return r.checkAge(conn, marks, is)
}

// checkAge tells whether the replica has what the primary had written a while ago. While there is no primary nothing is written.
func (r *replica) checkAge(conn *wire.Conn, of marks, is role) error {
	p := r.set.primary
	limit := p.client.options.MaxStaleness
	if limit < 0 || p.seat.Load().err != nil {
		return nil
	}
	if is.curt || p.curt.Load() {
		return r.untold(conn)
	}
	if at, ok := of.reached(is.offset); ok && at.After(r.fresh) {
		r.fresh = at
	}
	if age := time.Since(r.fresh); age > limit {
		return fmt.Errorf("it lacks what was written %v ago", min(age, time.Since(p.client.epoch)).Round(time.Millisecond))
	}
	return nil
}

var errUntold = errors.New("how old its data are is not known, as the user may send neither ROLE nor INFO to it, or to the primary; Options.MaxStaleness < 0 and MaxLag 0 would use it anyway")

// untold says that nobody can tell how old the replica's data are, and once to the log.
func (r *replica) untold(conn *wire.Conn) error {
	c := r.set.primary.client
	err := permit(c.servers.userOf(conn), errUntold, "role")
	if !r.told {
		r.told = true
		c.director.log.Warn("replica not used", observe.Endpoint(r.set.primary.name), "addr", r.addr, observe.Cause(err))
	}
	return err
}

func (r *replica) smooth(d time.Duration) {
	if old := r.latency.Load(); old != 0 {
		d = (3*time.Duration(old) + d) / 4
	}
	r.latency.Store(int64(d))
}

// interval is how often replicas are asked.
func (s *replicaSet) interval() time.Duration {
	if limit := s.primary.client.options.MaxStaleness; limit > 0 {
		return min(replicaInterval, limit/4)
	}
	return replicaInterval
}

// mark notes how much the primary has written by now, and returns the latest marks.
func (s *replicaSet) mark(now time.Time) marks {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := max(s.interval()/4, s.primary.client.options.MaxStaleness*2/maxMarks)
	s.marks = s.marks.add(mark{generation: s.primary.seat.Load().generation, offset: s.primary.offset.Load(), at: now}, least)
	return s.marks
}

func (s *replicaSet) healthy() []*replica { return *s.ready.Load() }

// do performs an action on a replica, or on the primary if no replica may serve.
func (s *replicaSet) do(ctx context.Context, a radix.Action) error {
	if s.used.CompareAndSwap(false, true) {
		s.keep()
	}
	if err := s.await(ctx); err != nil {
		return err
	}
	for _, r := range s.order() {
		err := r.do(ctx, a)
		if f := unused(err); f == nil {
			return err
		}
	}
	if s.primary.client.options.ReplicaOnly {
		return fmt.Errorf("%w: %w: primary %q", ErrNoReplica, ErrNotSent, s.primary.name)
	}
	return s.primary.perform(ctx, a)
}

// await waits for the first verdict on replicas that have just begun to be used.
func (s *replicaSet) await(ctx context.Context) error {
	for {
		changed := s.changed.wait()
		if len(s.healthy()) > 0 || s.allJudged() {
			return nil
		}
		select {
		case <-changed:
		case <-s.primary.client.ctx.Done():
			return s.primary.noPrimary(ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNotSent, ctx.Err())
		}
	}
}

func (s *replicaSet) allJudged() bool {
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
func (s *replicaSet) order() []*replica {
	all := s.healthy()
	if len(all) < 2 {
		return all
	}
	first := 0
	switch s.primary.client.options.Replicas {
	case Random:
		first = rand.IntN(len(all))
	case RoundRobin:
		first = int(s.turn.Add(1) % uint64(len(all)))
	case LowestLatency:
		first = fastest(all)
	}
	return slices.Concat(all[first:], all[:first])
}

// fastest picks one of those that are about as fast as the fastest, by chance: a strict minimum would send all clients to one, whose lead
// is often no more than chance.
func fastest(all []*replica) (picked int) {
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
