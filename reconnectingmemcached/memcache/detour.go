package memcache

import (
	"cmp"
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// A detour is the way of a call whose server is down, or was so a while ago.

func (c *Client) readAround(ctx context.Context, core *core, s *server.Server, r *protocol.Request) (*Item, error) {
	g, at := core.gutter, s.Phase()
	r.Began = core.Now()
	if at == phases.Linger {
		s.Metrics.CountCall(r, server.ResultMiss, 0)
		if it := g.Read(ctx, s, r.Key, r.Began); it != nil {
			return it, nil
		}
		return nil, missUnlessEnded(ctx)
	}
	out := s.Exchange(ctx, r)
	if out.Err != nil && !out.Replied {
		return c.readFailed(ctx, core, s, r, out)
	}
	if at.Source() == phases.AtOwnerThenCopy && errors.Is(out.Err, ErrCacheMiss) {
		if it := g.Read(ctx, s, r.Key, r.Began); it != nil {
			return it, nil
		}
	}
	return out.Item, out.Err
}

// readFailed looks for a copy of a key that its owner did not answer for.
func (c *Client) readFailed(ctx context.Context, core *core, s *server.Server, r *protocol.Request, out server.Outcome) (*Item, error) {
	if core.gutter.LeavesTo(s, out.Err) && ctx.Err() == nil {
		if it := core.gutter.Read(ctx, s, r.Key, out.Began); it != nil {
			return it, nil
		}
	}
	return nil, c.unanswered(ctx, s, r.Op, out)
}

func (c *Client) writeAround(ctx context.Context, core *core, s *server.Server, r *protocol.Request) (uint64, error) {
	at := s.Phase()
	r.Began = cmp.Or(r.Began, core.Now())
	parts := []server.Part{{Server: s, Request: *r}}
	if at != phases.Down { // else it fails at once, and the copies follow
		parts = append(parts, core.gutter.Copies(s, r, at, r.Began)...)
	}
	server.Launch(ctx, parts)
	core.gutter.Settle(parts[1:])
	out := parts[0].Outcome
	if out.Err != nil && !out.Replied {
		return 0, c.writeFailed(ctx, core, s, r, out)
	}
	if at == phases.Down { // it has just come back
		core.gutter.Keep(ctx, s, r, phases.Linger, r.Began)
	}
	return out.Number, out.Err
}

// writeFailed sees to the copies of a key whose owner is down. A Set is done if there is one of its
// value.
func (c *Client) writeFailed(ctx context.Context, core *core, s *server.Server, r *protocol.Request, out server.Outcome) error {
	stored := core.gutter.LeavesTo(s, out.Err) && core.gutter.Keep(ctx, s, r, phases.Down, out.Began)
	if stored && !c.reporting {
		return nil
	}
	err := c.unanswered(ctx, s, r.Op, out)
	var down *ServerDownError
	if errors.As(err, &down) {
		down.Guttered = stored
	}
	return err
}
