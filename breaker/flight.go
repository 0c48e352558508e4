package breaker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	// flightSteps is in how many steps a call becomes slow.
	flightSteps = 4
	// flightSlots is how many steps calls are remembered for: four times as long as it takes to be
	// slow.
	flightSlots = 16
	// flightLanes bounds the lanes, and so the memory: 5 kB in all.
	flightLanes = 16
)

// flight knows how many calls have been under way for longer than is slow. Calls are counted by the
// step in which they began, in lanes that goroutines are spread over.
type flight struct {
	slow, step time.Duration
	stripes    observe.Stripes
	lanes      []lane
	next       atomic.Int64 // when to look again, on the breaker's clock

	from   time.Duration     // calls that began earlier do not count; guarded by Breaker.mu
	looks  [flightSteps]look // the last ones, the newest at head; guarded by Breaker.mu
	head   int               // guarded by Breaker.mu
	looked int               // guarded by Breaker.mu
}

// lane is one stripe of the calls in flight.
type lane struct {
	mu    sync.Mutex
	slots [flightSlots]slot // guarded by mu

	_ [observe.CacheLine]byte
}

// slot counts the calls of one step.
type slot struct{ step, calls int64 }

// look is how many calls had ended at a time.
type look struct {
	at    time.Duration
	ended uint64
}

func newFlight(slow time.Duration, stripes observe.Stripes) *flight {
	return &flight{slow: slow, step: max(slow/flightSteps, 1), stripes: stripes, lanes: make([]lane, min(stripes.Len(), flightLanes))}
}

// begin counts a call that begins now, and returns its lane.
func (f *flight) begin(now time.Duration) uint64 {
	at := f.stripes.Here() % len(f.lanes)
	step := int64(now / f.step)
	l := &f.lanes[at]
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.slots[step%flightSlots]
	if s.step != step {
		*s = slot{step: step}
	}
	s.calls++
	return uint64(at)
}

// end takes a call back. One that took very long is no longer counted.
func (f *flight) end(start time.Duration, at uint64) {
	step := int64(start / f.step)
	l := &f.lanes[at]
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := &l.slots[step%flightSlots]; s.step == step {
		s.calls--
	}
}

// forget leaves out the calls that have begun by now. The caller holds Breaker.mu.
func (f *flight) forget(now time.Duration) {
	if f != nil {
		f.from, f.looked = now, 0
	}
}

// overdue counts the calls that are slow already, of those that began since from.
func (f *flight) overdue(now time.Duration) (calls uint64) {
	first := max(int64(f.from/f.step)+1, int64(now/f.step)-flightSlots+1)
	last := int64((now-f.slow)/f.step) - 1
	for i := range f.lanes {
		l := &f.lanes[i]
		l.mu.Lock()
		for _, s := range l.slots {
			if s.step >= first && s.step <= last {
				calls += uint64(s.calls)
			}
		}
		l.mu.Unlock()
	}
	return calls
}

// recent tells how many calls have ended within about the time that makes one slow, or since the
// first look. ended is how many have ended in all. The caller holds Breaker.mu.
func (f *flight) recent(now time.Duration, ended uint64) uint64 {
	base := ended
	for i := range f.looked {
		l := f.looks[(f.head-i+flightSteps)%flightSteps]
		base = l.ended
		if l.at <= now-f.slow {
			break
		}
	}
	f.head = (f.head + 1) % flightSteps
	f.looks[f.head] = look{now, ended}
	f.looked = min(f.looked+1, flightSteps)
	return ended - base
}

// watch looks, at most once a step, whether so many calls are overdue that the dependency hangs.
func (b *Breaker) watch(now time.Duration) {
	f := b.flight
	if next := f.next.Load(); int64(now) < next || !f.next.CompareAndSwap(next, int64(now+f.step)) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.history.state != Closed {
		return
	}
	overdue, recent := f.overdue(now), f.recent(now, b.counters.ended())
	if overdue >= uint64(b.options.MinCalls) && float64(overdue) >= b.options.SlowCallRatio*float64(overdue+recent) && b.member.mayOpen() {
		b.trip(ErrSlow)
	}
}
