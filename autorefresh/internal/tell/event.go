// Package tell tells the user of a cache what happens: by events, by removals, and by lines in the
// log.
package tell

import "time"

// Kind is the subject of an event. Kinds have the order of the public ones.
type Kind int

// Kinds of events.
const (
	Updated Kind = iota
	Gone
	Final
	Failed
	Evicted
	Stale
	Stuck
	SourceDown
	SourceUp
)

// Event is something that has happened.
type Event[K comparable] struct {
	Kind Kind
	Key  K
	Err  error
	At   time.Time
}

// Cause is why an item has left. Causes have the order of the public ones.
type Cause int

// Causes of removals.
const (
	ByDelete Cause = iota
	ByGone
	ByEviction
	ByIdleness
	ByExpiry
)

// Removal is the leaving of an item.
type Removal[K comparable, V any] struct {
	Key   K
	Value V // the last one
	Cause Cause
	At    time.Time
}
