package autorefresh

import "time"

// Kind is the subject of an [Event].
type Kind int

const (
	// Updated says that an item has a new value.
	Updated Kind = iota
	// Gone says that the source has an item no more, and it is deleted.
	Gone
	// Final says that an item has become terminal.
	Final
	// Failed says that the refresh of an item has failed; Err says why.
	Failed
	// Evicted says that an item was deleted for want of room.
	Evicted
	// Stale says that an item has grown older than MaxStale.
	Stale
	// Stuck says that a call has overrun its timeout; Key is the first of its items.
	Stuck
	// SourceDown says that the breaker has opened, and no item is refreshed. There is no Key.
	SourceDown
	// SourceUp says that the breaker has closed. There is no Key.
	SourceUp
	kinds
)

// String names the kind: "updated", "gone", "final", "failed", "evicted", "stale", "stuck", "source
// down" or "source up".
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return "unknown"
	}
	return [kinds]string{"updated", "gone", "final", "failed", "evicted", "stale", "stuck", "source down", "source up"}[k]
}

// Event is what Options.OnEvent is told.
type Event[K comparable] struct {
	Kind Kind
	Key  K
	Err  error
	At   time.Time
}
