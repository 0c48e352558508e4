package director

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/replica"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
)

// Primary is one name that is followed: the route of its commands, and the knowledge of it.
type Primary struct {
	*route.Route

	// Label is the name, as a metric label.
	Label string
	// Breaker decides nothing: it says what the follower has found, to metrics and to its watchers,
	// and takes an operator's orders. Calls look at the seat alone.
	Breaker  *breaker.Breaker
	Replicas *replica.Set

	failovers   failovers
	cause       atomic.Pointer[error] // why the last try to find it failed; nil before the first
	alarmPosted atomic.Bool           // an alarm is on its way
	snapshot    atomic.Pointer[Snapshot]
}

// Snapshot is the knowledge of a name. It is not changed, but replaced.
func (p *Primary) Snapshot() *Snapshot { return p.snapshot.Load() }

// Stats are the counters of its failovers.
func (p *Primary) Stats() Stats { return p.failovers.stats() }

// lookedFor is why there is no primary; nil if there is one.
func (p *Primary) lookedFor(context.Context) error {
	s := p.Seat()
	if cause := p.cause.Load(); s.Err != nil && cause != nil && *cause != nil {
		return *cause
	}
	return s.Err
}

// restored has the breaker say that there is a primary, unless an operator has it say something.
func (p *Primary) restored() { p.Breaker.Recover() }

// Sentinel is one sentinel, and whether it answers.
type Sentinel struct {
	Addr string
	Up   bool
}

// Snapshot returns the roles of all servers of the name.
type Snapshot struct {
	View      follow.View
	Seat      *route.Seat
	Replicas  []follow.Replica // as most sentinels list them
	Sentinels []Sentinel
}

// same reports whether both look the same. The list of replicas follows from the view.
func (p *Snapshot) same(o *Snapshot) bool {
	if o == nil {
		return false
	}
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	a, b := p.View, o.View
	return p.Seat == o.Seat && a.Phase == b.Phase && a.Addr == b.Addr && a.Epoch == b.Epoch && a.Since.Equal(b.Since) &&
		a.Settled == b.Settled && a.Reports == b.Reports && text(a.Cause) == text(b.Cause) &&
		slices.Equal(a.Replicas, b.Replicas) && slices.Equal(p.Sentinels, o.Sentinels)
}
