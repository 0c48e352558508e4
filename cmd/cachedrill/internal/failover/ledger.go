package failover

import (
	"context"
	"sync"
	"time"
)

// entry is an acknowledged write.
type entry struct {
	key string
	at  time.Time // of the acknowledgement
	by  string    // the server that the client took for the primary then
}

// audit is the finding at the end of a phase.
type audit struct {
	asked int           // how many writes were looked for: all that had been acknowledged and not been found missing before
	lost  []entry       // those that are gone
	gap   time.Duration // the longest time without the acknowledgement of a write that was kept
}

// ledger keeps the acknowledged writes of one side. The zero value is empty and ready. It is safe
// for concurrent use.
type ledger struct {
	mu    sync.Mutex
	begun time.Time // of the phase; guarded by mu
	kept  []entry   // not found missing so far, in the order of their acknowledgements; guarded by mu
}

// acknowledged notes a write that is done, as the client says.
func (l *ledger) acknowledged(key, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, entry{key, time.Now(), by})
}

// begin begins a phase.
func (l *ledger) begin(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = at
}

// audit asks which of the writes acknowledged so far are present, and forgets the others. Each is
// lost only once.
func (l *ledger) audit(ctx context.Context, present func(context.Context, []string) (map[string]bool, error)) (audit, error) {
	now := time.Now()
	l.mu.Lock()
	begun, asked := l.begun, len(l.kept)
	keys := make([]string, asked)
	for i, e := range l.kept {
		keys[i] = e.key
	}
	l.mu.Unlock()
	found, err := present(ctx, keys)
	if err != nil {
		return audit{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := audit{asked: asked}
	var kept []entry
	for _, e := range l.kept[:asked] {
		if found[e.key] {
			kept = append(kept, e)
		} else {
			a.lost = append(a.lost, e)
		}
	}
	a.gap = longestGap(kept, begun, now)
	l.kept = append(kept, l.kept[asked:]...)
	return a, nil
}

// longestGap returns the longest time between from and to in which none of the entries, which are
// in order, was acknowledged.
func longestGap(entries []entry, from, to time.Time) (gap time.Duration) {
	last := from
	for _, e := range entries {
		if e.at.After(from) && e.at.Before(to) {
			gap = max(gap, e.at.Sub(last))
			last = e.at
		}
	}
	return max(gap, to.Sub(last))
}
