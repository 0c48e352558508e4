// Package answers answers the peers of a process: from its caches, or by its Getters, never by
// asking another peer.
package answers

import (
	"context"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/parts"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/trace"
)

// Group answers for one group. It is safe for concurrent use.
type Group struct{ parts.Parts }

// Serve answers from the caches, else by the Getter. It calls loading, if it must load. ErrClosed
// says that Close has ended the load: that is no answer of the Getter.
func (g *Group) Serve(ctx context.Context, key string, loading func()) (outcome.Value, error) {
	v, hit, err := g.FromCache(key)
	if hit {
		return v, err
	}
	loading()
	if v, err = g.byLoad(ctx, key); err != nil && g.Shared.Process.Closed() {
		return outcome.Value{}, outcome.ErrClosed
	}
	return v, err
}

// FromCache answers from the caches.
func (g *Group) FromCache(key string) (v outcome.Value, hit bool, err error) {
	found, ok := g.Shared.Tiers.Get(key)
	if !ok {
		return outcome.Value{}, false, nil
	}
	if found.Stale && g.Shared.Owns(key) { // what others own their peers' Gets must not fetch
		g.Finder.Revalidate(key)
	}
	v, err = g.Shared.Result(found)
	return v, true, err
}

func (g *Group) byLoad(ctx context.Context, key string) (outcome.Value, error) {
	g.Shared.Stats.Loads.Add(1)
	return g.Loader.Load(ctx, key)
}

// get answers a question for a key.
func (g *Group) get(ctx context.Context, key string, loading func()) (outcome.Value, error) {
	g.Shared.Stats.ServerRequests.Add(1)
	if g.Shared.Process.Tracer == nil {
		return g.Serve(ctx, key, loading)
	}
	ctx, span := g.Shared.Begin(ctx, trace.Server, "get", key)
	v, err := g.Serve(ctx, key, loading)
	span.End(g.Shared.Ended(ctx, trace.Hit, err))
	return v, err
}

// find answers from the caches, quickly. Stale and absent values, and traced requests, are left to
// get.
func (g *Group) find(key string) (wire.Answer, bool) {
	v, ok := g.Shared.Tiers.Peek(key) // which counts nothing
	if !ok || v.Flags&tiers.Absent != 0 {
		return wire.Answer{}, false
	}
	if v, ok = g.Shared.Tiers.Get(key); !ok || v.Stale || v.Flags&tiers.Absent != 0 { // it has just changed
		return wire.Answer{}, false
	}
	g.Shared.Stats.ServerRequests.Add(1)
	return wire.Answer{Value: v.Value, Expire: v.Expire}, true
}

// maxMessage is how many bytes of a Getter's error are sent.
const maxMessage = 64 << 10

// answerOf is what a peer is told of how a Get has ended.
func (g *Group) answerOf(v outcome.Value, err error) wire.Answer {
	if err == nil {
		return wire.Answer{Outcome: wire.Found, Value: v.Bytes, Expire: v.Expire}
	}
	message := err.Error()
	a := wire.Answer{Outcome: wire.LoadFailed, Message: message[:min(len(message), maxMessage)], Cause: err}
	if g.Shared.Errors.IsNotFound(err) {
		a.Outcome = wire.NotFound
	}
	return a
}
