package director

import (
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// EventKind is the kind of an Event. Its constants are those of sentinel.EventKind, in the same
// order.
type EventKind int

// The kinds of events, as sentinel has them.
const (
	PrimaryUp EventKind = iota
	PrimaryDown
	Fenced
	Unfenced
	Confirmed
	Reverted
	RoleMismatch
	SentinelUp
	SentinelDown
)

// Event is one change: see sentinel.Event.
type Event struct {
	Kind                                         EventKind
	Primary, Addr, Previous, Candidate, Sentinel string
	Trigger                                      follow.Trigger
	Epoch                                        int64
	Cause                                        error
}
