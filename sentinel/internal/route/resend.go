package route

import (
	"context"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// demoted reports whether a server has refused a write because it is a replica: it has not carried
// it out.
func demoted(err error) bool {
	text, ok := wire.ErrorReply(err)
	return ok && strings.HasPrefix(text, "READONLY ")
}

// sendAgain sends a write again that a server has refused because it is a replica, once there is
// another primary. The refusal has had it asked for its role. It waits as a write does that finds a
// failover under way.
func (p *Route) sendAgain(ctx context.Context, refusedBy *Seat, request, into any, refusal error) error {
	if !p.awaitOther(ctx, refusedBy.Generation) {
		if s := p.Seat(); s.Err != nil {
			p.Metrics.Refused.Add(1)
			return s.Err
		}
		return refusal
	}
	r, err := p.Calls.Encode(ctx, request)
	if err != nil {
		return p.failed(err, p.Seat())
	}
	return p.transmit(ctx, r, into)
}

// awaitOther waits for a primary of another generation, for Options.FenceWait at most.
func (p *Route) awaitOther(ctx context.Context, generation uint64) bool {
	if p.FenceWait < 0 {
		return false
	}
	limit := time.NewTimer(p.FenceWait)
	defer limit.Stop()
	for {
		changed := p.Changed.Wait()
		if s := p.Seat(); s.Err == nil && s.Generation != generation {
			return true
		}
		select {
		case <-changed:
		case <-limit.C:
			return false
		case <-ctx.Done():
			return false
		case <-p.Context.Done():
			return false
		}
	}
}
