package writes

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// longestYouth is how long a process counts as new, from its first peers on, if NewEarly is not
	// told.
	longestYouth = time.Minute
	// maxEarly is how many keys that a new process has written are known.
	maxEarly = 16384
)

// Early is what a process has written while it was new. It is safe for concurrent use.
//
// A peer that is new to this process was not told of what this process has written before. It may
// be new altogether, and have loaded little; or it was away, and holds old values: then it
// is to forget everything. But if this process is new, it must not empty the caches of those that
// it hears of later than of others: they are told what it has written so far.
type Early struct {
	youth time.Duration
	grown atomic.Bool // it is not new any more, or has written too much to know
	wrote atomic.Bool // more than is known

	mu     sync.Mutex
	since  time.Time            // of the first peers; zero before; guarded by mu
	writes map[Removal]struct{} // guarded by mu
}

// NewEarly makes an Early of a process that counts as new for so long, a minute if it is not above
// 0.
func NewEarly(youth time.Duration) *Early {
	if youth <= 0 {
		youth = longestYouth
	}
	return &Early{youth: youth}
}

// Met says that the process has peers. The first time counts.
func (e *Early) Met() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.since.IsZero() {
		e.since = time.Now()
	}
}

// isNewLocked reports whether the process counts as new, and that all it has written is known.
func (e *Early) isNewLocked() bool {
	if !e.since.IsZero() && time.Since(e.since) > e.youth {
		e.growUpLocked()
	}
	return !e.grown.Load()
}

func (e *Early) growUpLocked() {
	if len(e.writes) > 0 {
		e.wrote.Store(true)
	}
	e.writes = nil
	e.grown.Store(true)
}

// Wrote takes note of a write of this process.
func (e *Early) Wrote(r Removal) {
	if e.grown.Load() {
		if !e.wrote.Load() {
			e.wrote.Store(true)
		}
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.isNewLocked() {
		e.wrote.Store(true)
		return
	}
	if e.writes == nil {
		e.writes = make(map[Removal]struct{})
	}
	e.writes[r] = struct{}{}
	if len(e.writes) > maxEarly { // also in a process that is alone, and writes for ever
		e.growUpLocked()
	}
}

// Introduce settles what a peer that is new to this process is to be told first. A process that was
// alone so far need not have been heard of by others, but what it has written may concern them.
func (e *Early) Introduce(m *Missed, alone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.isNewLocked():
		m.Add(slices.Collect(maps.Keys(e.writes))...)
	case alone && !e.wrote.Load():
	default:
		m.AddAll()
	}
}
