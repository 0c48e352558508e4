package breaker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	defaultEndpoints  = 1024
	defaultIdleExpiry = 10 * time.Minute
	// lostAfter is how many times IdleExpiry a breaker must have been idle for its permits in use
	// to be taken for lost.
	lostAfter = 6
)

// SetOptions are a Set's choices. The zero value works.
type SetOptions struct {
	// Options are each breaker's; Probe and Endpoint must be empty here.
	Options
	// Probe asks an endpoint whether it is back, as Options.Probe does. Default nil.
	Probe func(ctx context.Context, endpoint string) error
	// For has the last word on one endpoint's options; it is given those of the Set, with Probe
	// filled in. It is called by Get, and may be called more than once for an endpoint. If what it
	// returns is out of range, the Set's are used and Logger is told. Default nil.
	For func(endpoint string, o Options) Options
	// MaxEndpoints bounds the breakers. Endpoints beyond share one, labelled "_other", which counts
	// calls but never opens. Default 1024.
	MaxEndpoints int
	// IdleExpiry drops a breaker that was not used for so long, at the latest half as long after;
	// one that is open, half-open, forced or has permits in use stays; permits that nobody was done
	// with for six times as long are lost. Negative is never, and makes calls a counter cheaper.
	// Default 10 min.
	IdleExpiry time.Duration
	// MaxOpenShare is the share of the Set's breakers that may be open or half-open at once, at
	// most 1; beyond it, breakers stay closed whatever fails. Forced ones do not count. Default 0,
	// no limit.
	MaxOpenShare float64
}

func (o SetOptions) withDefaults() SetOptions {
	orDefault(&o.MaxEndpoints, defaultEndpoints)
	orDefault(&o.IdleExpiry, defaultIdleExpiry)
	return o
}

func (o SetOptions) check() error {
	base := o.Options
	if o.Probe != nil || o.For != nil {
		base.OnReady = nil // its Probe comes later
	}
	bad := []error{base.check()}
	if o.Options.Probe != nil {
		bad = append(bad, errors.New("breaker: SetOptions.Options.Probe is set: set SetOptions.Probe, which is told the endpoint"))
	}
	if o.Endpoint != "" {
		bad = append(bad, fmt.Errorf("breaker: SetOptions.Options.Endpoint is %q: leave it empty, Get names the endpoints", o.Endpoint))
	}
	if o.MaxEndpoints < 0 {
		bad = append(bad, fmt.Errorf("breaker: SetOptions.MaxEndpoints is %d: set a positive number, or 0 for the default", o.MaxEndpoints))
	}
	if o.MaxOpenShare < 0 || o.MaxOpenShare > 1 || math.IsNaN(o.MaxOpenShare) {
		bad = append(bad, fmt.Errorf("breaker: SetOptions.MaxOpenShare is %v: set a share between 0 and 1, 0 for no limit", o.MaxOpenShare))
	}
	return errors.Join(bad...)
}

// Set keeps one Breaker per endpoint. It has no useful zero value: NewSet makes one. Most callers
// want Get. It is a prometheus.Collector of all its breakers, and safe for concurrent use.
type Set struct {
	options  SetOptions // with defaults
	metrics  *metrics.Breaker
	other    *Breaker
	overflow atomic.Bool  // other was handed out
	open     atomic.Int64 // members open or half-open

	members *roster

	mu      sync.Mutex
	labels  *observe.Labels // guarded by mu
	sweeper *time.Timer     // nil unless there are members that may expire; guarded by mu
	closed  bool            // guarded by mu
}

// member is what a Set keeps with a breaker. The methods of a nil member are those of a lone
// breaker.
type member struct {
	set      *Set
	endpoint string // as Get was given it
	shared   bool   // by the endpoints beyond the bound
	touched  atomic.Bool

	activity  uint64    // at the last sweep; guarded by Set.mu
	idleSince time.Time // guarded by Set.mu
}

// NewSet makes a set without breakers. The name becomes the metric label "client", as in New. It
// fails for an empty name and for options out of range.
func NewSet(name string, opts SetOptions) (*Set, error) {
	name, err := cleanName(name)
	if err != nil {
		return nil, err
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	s := &Set{options: opts.withDefaults(), metrics: metrics.NewBreaker(name, opts.kind()), labels: observe.NewLabels(0), members: newRoster(opts.withDefaults().MaxEndpoints)}
	s.other = build(name, observe.Other, s.options.Options, s.metrics, &member{set: s, shared: true})
	return s, nil
}

// Get returns the endpoint's breaker, made at its first use. It never returns nil: an endpoint
// beyond MaxEndpoints gets the breaker "_other", and after Close the breakers refuse with
// ErrClosed. The breaker may be kept: one that expired comes back with its next call.
func (s *Set) Get(endpoint string) *Breaker {
	if b := s.find(endpoint); b != nil {
		return b
	}
	opts := s.optionsFor(endpoint)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.lookup(endpoint); b != nil {
		return b
	}
	if s.closed || s.full() {
		s.overflow.Store(true)
		return s.other
	}
	in := &member{set: s, endpoint: endpoint, idleSince: time.Now()}
	b := build(s.other.name, s.labels.Take(endpoint), opts, s.metrics, in)
	s.add(b)
	return b
}

// find returns the endpoint's breaker without a lock, nil if it has to be made.
func (s *Set) find(endpoint string) *Breaker {
	b := s.members.get(endpoint)
	if b == nil && s.full() && s.overflow.Load() {
		if b = s.members.get(endpoint); b == nil { // a full roster hides nobody
			return s.other
		}
	}
	b.touch()
	return b
}

// lookup is find for those who hold mu. It finds all.
func (s *Set) lookup(endpoint string) *Breaker {
	if b := s.find(endpoint); b != nil {
		return b
	}
	b := s.members.lookup(endpoint)
	b.touch()
	return b
}

// touch says that a member was asked for. b may be nil.
func (b *Breaker) touch() {
	if b != nil && !b.member.touched.Load() {
		b.member.touched.Store(true)
	}
}

func (s *Set) full() bool { return s.members.len() >= s.options.MaxEndpoints }

// add publishes a breaker. The caller holds mu.
func (s *Set) add(b *Breaker) {
	s.members.add(b)
	if s.sweeper == nil && s.options.IdleExpiry > 0 {
		s.sweeper = time.AfterFunc(s.sweepPeriod(), s.sweep)
	}
}

func (s *Set) optionsFor(endpoint string) Options {
	base := s.options.Options
	if probe := s.options.Probe; probe != nil {
		base.Probe = func(ctx context.Context) error { return probe(ctx, endpoint) }
	}
	if s.options.For == nil {
		return base
	}
	opts := s.options.For(endpoint, base)
	err := opts.check()
	if err == nil {
		return opts
	}
	if base.Logger != nil {
		observe.Guard(base.Logger).Error("breaker options for endpoint are out of range, using the set's",
			observe.KeyClient, s.other.name, observe.KeyEndpoint, observe.Label(endpoint), observe.KeyCause, err)
	}
	return base
}

func (s *Set) sweepPeriod() time.Duration { return max(s.options.IdleExpiry/4, time.Millisecond) }

// sweep drops the breakers that were idle for too long.
func (s *Set) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := time.Now()
	s.members.replace(func(b *Breaker) bool {
		idle := b.member.idle(b, now)
		if idle < s.options.IdleExpiry || !b.drop(idle) {
			return false
		}
		s.labels.Drop(b.endpoint)
		return true
	})
	s.sweeper = nil
	if s.members.len() > 0 {
		s.sweeper = time.AfterFunc(s.sweepPeriod(), s.sweep)
	}
}

// idle tells for how long the breaker was seen unused. The caller holds Set.mu.
func (m *member) idle(b *Breaker, now time.Time) time.Duration {
	activity := b.counters.activity()
	if m.touched.Swap(false) || activity != m.activity {
		m.activity, m.idleSince = activity, now
	}
	return now.Sub(m.idleSince)
}

// drop takes a breaker out of use unless it has to stay. Calls by those who kept it then ask the
// Set. Permits in use keep it, unless it was idle for so long that they must be lost.
func (b *Breaker) drop(idle time.Duration) bool {
	lost := idle >= lostAfter*b.member.set.options.IdleExpiry
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.load()
	if w.code() == codeShut {
		return true
	}
	if w.code() != word(Closed) || !lost && b.counters.inUse() {
		return false
	}
	b.word.Store(uint64(w.next(codeIdle)))
	if !lost && b.counters.inUse() { // given between the look and the store
		b.word.Store(uint64(w))
		return false
	}
	b.evidence.reset()
	return true
}

// rejoin returns the breaker to use for one that had expired: itself, back in the set; the one that
// took its place; or nil after Close.
func (s *Set) rejoin(b *Breaker) *Breaker {
	if current := s.find(b.member.endpoint); current != nil {
		return current
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if current := s.lookup(b.member.endpoint); current != nil {
		return current
	}
	if s.closed {
		return nil
	}
	if s.full() || s.labels.Has(b.endpoint) {
		s.overflow.Store(true)
		return s.other
	}
	b.revive()
	s.labels.Hold(b.endpoint)
	b.member.idleSince = time.Now()
	s.add(b)
	return b
}

// stateOf answers for a breaker that had expired: the state of the one that took its place, if one
// did.
func (s *Set) stateOf(b *Breaker) State {
	s.mu.Lock()
	current, closed := s.members.lookup(b.member.endpoint), s.closed
	s.mu.Unlock()
	switch {
	case current != nil && current != b:
		return current.State()
	case closed:
		return Open
	default:
		return Closed
	}
}

// revive makes a dropped breaker usable again.
func (b *Breaker) revive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.word.Store(uint64(b.load().next(word(Closed))))
}

// expires reports whether permits in use have to be counted.
func (m *member) expires() bool { return m != nil && !m.isOther() && m.set.options.IdleExpiry > 0 }

func (m *member) isOther() bool { return m != nil && m.shared }

// mayOpen asks whether a closed breaker may open, and if so counts it as open.
func (m *member) mayOpen() bool {
	if m == nil {
		return true
	}
	if m.isOther() {
		return false
	}
	s := m.set
	for {
		n := s.open.Load()
		if share := s.options.MaxOpenShare; share > 0 && float64(n+1) > share*float64(s.members.len()) {
			return false
		}
		if s.open.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// reclosed takes back what mayOpen counted.
func (m *member) reclosed() {
	if m != nil {
		m.set.open.Add(-1)
	}
}

// all returns the members by endpoint, not to be written to.
func (s *Set) all() map[string]*Breaker {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members.publish()
	return *s.members.read.Load()
}

// each calls fn for all breakers that are in use.
func (s *Set) each(fn func(*Breaker)) {
	for _, b := range s.all() {
		fn(b)
	}
	if s.overflow.Load() {
		fn(s.other)
	}
}

// Stats returns a snapshot of each breaker, by endpoint as its label has it.
func (s *Set) Stats() map[string]Stats {
	stats := make(map[string]Stats)
	s.each(func(b *Breaker) { stats[b.endpoint] = b.Stats() })
	return stats
}

// Describe implements prometheus.Collector. To register a nil set fails with an error that says so.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	if s == nil {
		observe.DescribeNil(ch, "breaker.Set", "NewSet")
		return
	}
	s.metrics.Describe(ch)
}

// Collect implements prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	if s == nil {
		observe.CollectNil(ch, "breaker.Set", "NewSet")
		return
	}
	s.each(func(b *Breaker) { b.Collect(ch) })
}

// Close closes all breakers, as Breaker.Close does. It always returns nil and may be called more
// than once.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.sweeper != nil {
		s.sweeper.Stop()
	}
	s.members.publish()
	breakers := append(slices.Collect(maps.Values(*s.members.read.Load())), s.other)
	s.mu.Unlock()
	closeAll(breakers...)
	return nil
}
