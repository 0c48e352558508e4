package director

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// failovers are counters of one primary's failovers, and of the news of them.
type failovers struct {
	alarms                     atomic.Uint64
	pushes, stale, mismatches  atomic.Uint64
	fencesWasted, reverts      atomic.Uint64
	lost, reconnected, stalled atomic.Uint64
	moved                      [follow.Triggers]atomic.Uint64

	mu            sync.Mutex
	unavailable   time.Duration // that writes could not pass; guarded by mu
	lastDuration  time.Duration // of the last such time; guarded by mu
	lastInstalled time.Time     // guarded by mu
}

// installed counts a primary that was found, and the time without.
func (m *failovers) installed(why follow.Trigger, since, now time.Time) {
	m.moved[why].Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastInstalled, m.lastDuration = now, 0
	if !since.IsZero() {
		m.lastDuration = now.Sub(since)
		m.unavailable += m.lastDuration
	}
}

// Stats are the counters of one primary: see sentinel.PrimaryStats.
type Stats struct {
	Alarms, Pushes, Stale, Mismatches uint64
	FencesWasted, Reverts             uint64
	Lost, Reconnected, Stalled        uint64
	Found                             [follow.Triggers]uint64
	Unavailable, LastGap              time.Duration
	LastFound                         time.Time
}

func (m *failovers) stats() Stats {
	s := Stats{
		Alarms: m.alarms.Load(), Pushes: m.pushes.Load(), Stale: m.stale.Load(), Mismatches: m.mismatches.Load(),
		FencesWasted: m.fencesWasted.Load(), Reverts: m.reverts.Load(),
		Lost: m.lost.Load(), Reconnected: m.reconnected.Load(), Stalled: m.stalled.Load(),
	}
	for why := range follow.Triggers {
		s.Found[why] = m.moved[why].Load()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Unavailable, s.LastGap, s.LastFound = m.unavailable, m.lastDuration, m.lastInstalled
	return s
}
