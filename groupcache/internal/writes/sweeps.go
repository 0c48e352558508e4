package writes

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Phase is a step of a sweep, which removes all keys that begin with a prefix.
type Phase string

const (
	// Begin drops what there is. From then on nothing that comes from another process is kept,
	// until End.
	Begin Phase = "begin"
	// End says that all processes have begun: what comes from them is new.
	End Phase = "end"
	// Once is for a process that has missed the sweep of the others: it drops what there is.
	Once Phase = "once"
)

// Sweep is what a process is told of a removal of all keys that begin with a prefix.
type Sweep struct {
	Phase  Phase
	ID     string // of the sweep, the same in all its steps
	Prefix string // empty for all keys
}

// Bounds of what a peer may say.
const (
	// maxID bounds the ID of a sweep.
	maxID = 64
	// maxPrefix bounds the part of a prefix that is kept.
	maxPrefix = 1 << 10
)

// Check says why a sweep that a peer has sent cannot be one.
func (s Sweep) Check() error {
	if s.Phase != Begin && s.Phase != End && s.Phase != Once {
		return errors.New("the phase is unknown")
	}
	if len(s.ID) > maxID {
		return errors.New("the ID is too long")
	}
	return nil
}

// kept is the part of a prefix that is kept. It stands for more keys than a long prefix does: these
// are merely loaded more often.
func kept(prefix string) string {
	if len(prefix) > maxPrefix {
		return strings.Clone(prefix[:maxPrefix])
	}
	return prefix
}

// BeginWithin is how long the writer of a sweep waits for a process to begin. One that begins later
// has missed the sweep: those that began first may have stopped waiting for the End by then, and
// may have kept what they got from it.
const BeginWithin = longestSweep * 2 / 3

const (
	// longestSweep is how long a process waits for the End of a sweep whose writer may have died.
	longestSweep = 30 * time.Second
	// maxSweeps is how many sweeps may be under way; with more, nothing that comes from other
	// processes is kept for a while.
	maxSweeps = 256
)

// Sweeps are those that have begun and not ended. The zero value has none. It is safe for
// concurrent use.
type Sweeps struct {
	any atomic.Bool // there may be some

	mu     sync.Mutex
	under  map[string]sweep // by their ID; guarded by mu
	allTil time.Time        // until when all keys are covered; guarded by mu
}

type sweep struct {
	prefix string
	until  time.Time
}

// Begin takes note of one that begins.
func (s *Sweeps) Begin(id, prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.tidyLocked(now)
	s.any.Store(true)
	if s.under == nil {
		s.under = make(map[string]sweep)
	}
	if _, known := s.under[id]; !known && len(s.under) == maxSweeps {
		s.allTil = now.Add(longestSweep)
		return
	}
	s.under[id] = sweep{kept(prefix), now.Add(longestSweep)}
}

// End takes note of the end of one.
func (s *Sweeps) End(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under, id)
	s.tidyLocked(time.Now())
}

// Covers reports whether a key belongs to a sweep under way.
func (s *Sweeps) Covers(key string) bool {
	if !s.any.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.tidyLocked(now)
	if now.Before(s.allTil) {
		return true
	}
	for _, under := range s.under {
		if strings.HasPrefix(key, under.prefix) {
			return true
		}
	}
	return false
}

// Beginning are the sweeps of this process whose first step is under way: processes that come, or
// come back, are told of them. It is safe for concurrent use.
type Beginning struct {
	mu     sync.Mutex
	sweeps map[string]GroupSweep // by their ID; guarded by mu
}

// GroupSweep is a sweep of a group.
type GroupSweep struct {
	Group string
	Sweep
}

// Add takes note of a first step that begins.
func (b *Beginning) Add(group string, s Sweep) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sweeps == nil {
		b.sweeps = make(map[string]GroupSweep)
	}
	b.sweeps[s.ID] = GroupSweep{group, s}
}

// Done takes note that all processes that can be told have taken the first step.
func (b *Beginning) Done(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sweeps, id)
}

// All are those under way.
func (b *Beginning) All() []GroupSweep {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.sweeps))
}

// tidyLocked forgets those whose end did not come.
func (s *Sweeps) tidyLocked(now time.Time) {
	maps.DeleteFunc(s.under, func(_ string, under sweep) bool { return !now.Before(under.until) })
	if len(s.under) == 0 && !now.Before(s.allTil) {
		s.any.Store(false)
	}
}
