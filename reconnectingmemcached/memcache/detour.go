package memcache

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// A detour is the way of a call whose server is down, or was so a while ago.

func (c *Client) readAround(ctx context.Context, core *core, s *server.Server, r *protocol.Request) (*Item, error) {
	g, at, began := core.gutter, s.Phase(), core.Now()
	if at == phases.Linger {
		s.Metrics.CountCall(r, server.ResultMiss, 0)
		if it := g.read(ctx, s, r.Key, began); it != nil {
			return it, nil
		}
		return nil, missUnlessEnded(ctx)
	}
	out := s.Exchange(ctx, r)
	if out.Err != nil && !out.Replied {
		return c.readFailed(ctx, core, s, r, out)
	}
	if at.Source() == phases.AtOwnerThenCopy && errors.Is(out.Err, ErrCacheMiss) {
		if it := g.read(ctx, s, r.Key, began); it != nil {
			return it, nil
		}
	}
	return out.Item, out.Err
}

// readFailed looks for a copy of a key that its owner did not answer for.
func (c *Client) readFailed(ctx context.Context, core *core, s *server.Server, r *protocol.Request, out server.Outcome) (*Item, error) {
	if core.leavesTo(s, out.Err) && ctx.Err() == nil {
		if it := core.gutter.read(ctx, s, r.Key, out.Began); it != nil {
			return it, nil
		}
	}
	return nil, c.unanswered(ctx, s, r.Op, out)
}

// leavesTo reports whether a copy may stand in for the answer of a server whose call ended so. A
// time-out has used up the call's time.
func (c *core) leavesTo(s *server.Server, err error) bool {
	return c.gutter != nil && !errors.Is(err, faults.ErrTimeout) && (s.IsDown() || errors.Is(err, faults.ErrBusy) && s.Ramp.Rising.Load())
}

func (c *Client) writeAround(ctx context.Context, core *core, s *server.Server, r *protocol.Request) (uint64, error) {
	at, began := s.Phase(), core.Now()
	parts := []server.Part{{Server: s, Request: *r}}
	if at != phases.Down { // else it fails at once, and the copies follow
		parts = append(parts, core.gutter.copies(s, r, at, began)...)
	}
	server.Launch(ctx, parts)
	core.gutter.settle(parts[1:])
	out := parts[0].Outcome
	if out.Err != nil && !out.Replied {
		return 0, c.writeFailed(ctx, core, s, r, out)
	}
	if at == phases.Down { // it has just come back
		core.gutter.keep(ctx, s, r, phases.Linger, began)
	}
	return out.Number, out.Err
}

// writeFailed sees to the copies of a key whose owner is down. A Set is done if there is one of its
// value.
func (c *Client) writeFailed(ctx context.Context, core *core, s *server.Server, r *protocol.Request, out server.Outcome) error {
	stored := core.leavesTo(s, out.Err) && core.gutter.keep(ctx, s, r, phases.Down, out.Began)
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

// keep sees to the copies of a key, and reports whether there is one of the value now.
func (g *gutter) keep(ctx context.Context, s *server.Server, r *protocol.Request, at phases.Phase, began int64) (stored bool) {
	parts := g.copies(s, r, at, began)
	server.Launch(ctx, parts)
	return g.settle(parts)
}

// missing are the keys of a GetMulti that may have copies: those of parts whose server is down, and
// those doubted that it does not have.
func (g *gutter) missing(items map[string]*Item, parts []server.Part, doubted []string) (keys []string) {
	for _, key := range doubted {
		if items[key] == nil {
			keys = append(keys, key)
		}
	}
	for i := range parts {
		if p := &parts[i]; p.Outcome.Err != nil && !p.Outcome.Replied && g.core.leavesTo(p.Server, p.Outcome.Err) {
			keys = append(keys, p.Request.Keys...)
		}
	}
	return keys
}

// fill adds what there is of copies to the items of a GetMulti.
func (g *gutter) fill(ctx context.Context, items map[string]*Item, missing []string, began int64) {
	if len(missing) == 0 || ctx.Err() != nil || g.core.Now()-began >= int64(g.core.options.Timeout) {
		return
	}
	var parts []server.Part
	for _, key := range missing {
		owner, err := g.core.picker.pick(key)
		if err != nil {
			continue
		}
		if s := g.holder(key, owner); s != nil && !s.Missed.Holds(copyPrefix+key) { // else the copy may be old
			parts = server.AddKey(parts, s, copyPrefix+key, len(missing))
		} else {
			g.misses.Add(1)
		}
	}
	let := parts[:0]
	for _, p := range parts {
		p.Request.Own, p.Request.Began = true, began
		if g.enter(p.Server) {
			let = append(let, p)
		}
	}
	server.Launch(ctx, let)
	for i := range let {
		let[i].Server.Guests.Add(-1)
		found := let[i].Outcome.Items
		g.hits.Add(uint64(len(found)))
		g.misses.Add(uint64(len(let[i].Request.Keys) - len(found)))
		for _, it := range found {
			it = asOriginal(it)
			items[it.Key] = it
		}
	}
}
