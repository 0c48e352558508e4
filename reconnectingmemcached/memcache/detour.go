package memcache

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
)

// A detour is what a call takes whose server is down, or was so a while ago.

// phase is how the server stands.
func (s *server) phase() phase { return s.window.phase(s.core.now(), s.isDown()) }

// opensWindows reports whether the windows of servers are used at all.
func (c *core) opensWindows() bool { return c.gutter != nil || c.options.Linger > 0 }

// careTime is how long after a re-admission there may be copies: the Set of one may have begun just
// before, and take all of Timeout.
func (c *core) careTime() time.Duration {
	if c.gutter == nil {
		return 0
	}
	return c.options.Gutter.Expiration + max(graceOfCopies, c.options.Timeout+time.Second)
}

func (c *Client) readAround(ctx context.Context, s *server, r *protocol.Request) (*Item, error) {
	g, at, began := s.core.gutter, s.phase(), s.core.now()
	if at == phaseLinger {
		s.metrics.countCall(r, resultMiss, 0)
		if it := g.read(ctx, s, r.Key, began); it != nil {
			return it, nil
		}
		return nil, missUnlessEnded(ctx)
	}
	out := s.exchange(ctx, r)
	if out.err != nil && !out.replied {
		return c.readFailed(ctx, s, r, out)
	}
	if at.source() == atOwnerThenCopy && errors.Is(out.err, ErrCacheMiss) {
		if it := g.read(ctx, s, r.Key, began); it != nil {
			return it, nil
		}
	}
	return out.item, out.err
}

func missUnlessEnded(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrCacheMiss
}

// readFailed looks for a copy of a key that its owner did not answer for.
func (c *Client) readFailed(ctx context.Context, s *server, r *protocol.Request, out outcome) (*Item, error) {
	if s.leavesTo(out.err) && ctx.Err() == nil {
		if it := s.core.gutter.read(ctx, s, r.Key, out.began); it != nil {
			return it, nil
		}
	}
	return nil, c.unanswered(ctx, s, r.Op, out)
}

// leavesTo reports whether a copy may stand in for the answer of a server whose call ended so. A
// time-out has used up the call's time.
func (s *server) leavesTo(err error) bool {
	return s.core.gutter != nil && !errors.Is(err, faults.ErrTimeout) && (s.isDown() || errors.Is(err, faults.ErrBusy) && s.ramp.Rising.Load())
}

func (c *Client) writeAround(ctx context.Context, s *server, r *protocol.Request) (uint64, error) {
	at, began := s.phase(), s.core.now()
	parts := []part{{server: s, request: *r}}
	if at != phaseDown { // else it fails at once, and the copies follow
		parts = append(parts, s.core.gutter.copies(s, r, at, began)...)
	}
	launch(ctx, parts)
	s.core.gutter.settle(parts[1:])
	out := parts[0].outcome
	if out.err != nil && !out.replied {
		return 0, c.writeFailed(ctx, s, r, out)
	}
	if at == phaseDown { // it has just come back
		s.core.gutter.keep(ctx, s, r, phaseLinger, began)
	}
	return out.number, out.err
}

// writeFailed sees to the copies of a key whose owner is down. A Set is done if there is one of its
// value.
func (c *Client) writeFailed(ctx context.Context, s *server, r *protocol.Request, out outcome) error {
	stored := s.leavesTo(out.err) && s.core.gutter.keep(ctx, s, r, phaseDown, out.began)
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
func (g *gutter) keep(ctx context.Context, s *server, r *protocol.Request, at phase, began int64) (stored bool) {
	parts := g.copies(s, r, at, began)
	launch(ctx, parts)
	return g.settle(parts)
}

// missing are the keys of a GetMulti that may have copies: those of parts whose server is down, and
// those doubted that it does not have.
func (g *gutter) missing(items map[string]*Item, parts []part, doubted []string) (keys []string) {
	for _, key := range doubted {
		if items[key] == nil {
			keys = append(keys, key)
		}
	}
	for i := range parts {
		if p := &parts[i]; p.outcome.err != nil && !p.outcome.replied && p.server.leavesTo(p.outcome.err) {
			keys = append(keys, p.request.Keys...)
		}
	}
	return keys
}

// fill adds what there is of copies to the items of a GetMulti.
func (g *gutter) fill(ctx context.Context, items map[string]*Item, missing []string, began int64) {
	if len(missing) == 0 || ctx.Err() != nil || g.core.now()-began >= int64(g.core.options.Timeout) {
		return
	}
	var parts []part
	for _, key := range missing {
		owner, err := g.core.picker.pick(key)
		if err != nil {
			continue
		}
		if s := g.holder(key, owner); s != nil && !s.missed.holds(copyPrefix+key) { // else the copy may be old
			parts = addKey(parts, s, copyPrefix+key, len(missing))
		} else {
			g.misses.Add(1)
		}
	}
	let := parts[:0]
	for _, p := range parts {
		p.request.Own, p.request.Began = true, began
		if g.enter(p.server) {
			let = append(let, p)
		}
	}
	launch(ctx, let)
	for i := range let {
		let[i].server.guests.Add(-1)
		found := let[i].outcome.items
		g.hits.Add(uint64(len(found)))
		g.misses.Add(uint64(len(let[i].request.Keys) - len(found)))
		for _, it := range found {
			it = asOriginal(it)
			items[it.Key] = it
		}
	}
}
