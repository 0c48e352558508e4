package autorefresh

import "time"

// Cause is the reason for which an item has left the cache.
type Cause int

const (
	// CauseDeleted is a call of Delete or DeleteContext.
	CauseDeleted Cause = iota
	// CauseGone is that the source has the item no more.
	CauseGone
	// CauseEvicted is want of room, see MaxItems and MaxWeight.
	CauseEvicted
	// CauseIdle is that nobody has read the item, see IdleFor.
	CauseIdle
	// CauseExpired is the end of a final item, see TerminalTTL and [GoodUntil].
	CauseExpired
	causes
)

// String names the cause: "deleted", "gone", "evicted", "idle" or "expired".
func (c Cause) String() string {
	if c < 0 || c >= causes {
		return "unknown"
	}
	return [causes]string{"deleted", "gone", "evicted", "idle", "expired"}[c]
}

// Removal is what Options.OnRemoval is told.
type Removal[K comparable, V any] struct {
	Key   K
	Value V // the last one
	Cause Cause
	At    time.Time
}
