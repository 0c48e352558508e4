package sentinel

import (
	"context"
	"strings"
	"time"
)

// demoted tells whether a server has refused a write because it is a replica: it has not carried it out.
func demoted(err error) bool {
	text, ok := errorReply(err)
	return ok && strings.HasPrefix(text, "READONLY ")
}

// sendAgain sends a write again that a server has refused because it is a replica, once there is another primary. The refusal has had it
// asked for its role. It waits as a write does that finds a failover under way.
func (p *primary) sendAgain(ctx context.Context, refusedBy *seat, request, into any, refusal error) error {
	if !p.awaitOther(ctx, refusedBy.generation) {
		if s := p.seat.Load(); s.err != nil {
			p.metrics.refused.Add(1)
			return s.err
		}
		return refusal
	}
	r, err := p.client.calls.Encode(ctx, request)
	if err != nil {
		return p.failed(err, p.seat.Load())
	}
	return p.transmit(ctx, r, into)
}

// awaitOther waits for a primary of another generation, for Options.FenceWait at most.
func (p *primary) awaitOther(ctx context.Context, generation uint64) bool {
	if p.client.options.FenceWait < 0 {
		return false
	}
	limit := time.NewTimer(p.client.options.FenceWait)
	defer limit.Stop()
	for {
		changed := p.client.changed.wait()
		if s := p.seat.Load(); s.err == nil && s.generation != generation {
			return true
		}
		select {
		case <-changed:
		case <-limit.C:
			return false
		case <-ctx.Done():
			return false
		case <-p.client.ctx.Done():
			return false
		}
	}
}
