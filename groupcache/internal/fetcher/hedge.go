package fetcher

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// hedgeShare is the budget of hedges: one of so many fetches.
const hedgeShare = 20

// hedges reports whether it is known when to ask the cache of the second of the owners, too.
func hedges(owners []route.Remote) bool {
	if len(owners) < 2 {
		return false
	}
	owner, next := owners[0].Peer, owners[1].Peer
	return next != nil && next.Up() && owner.Marked() && owner.Usual() != 0
}

// Budget bounds the hedges of a group, and counts them.
type Budget struct {
	Asked  atomic.Int64 // questions to owners
	Hedges atomic.Int64 // questions to another cache meanwhile
	Won    atomic.Int64 // those of them that found the value first

	group *group.Group
}

// hedge is the question to the cache of the next owner, if the owner takes longer than 95 of 100
// times. It never causes a load.
type hedge struct{ found atomic.Pointer[wire.Answer] }

// start asks later, within a budget. A found value ends the question to the owner.
func (h *hedge) start(ctx context.Context, b *Budget, owners []route.Remote, key string, end func()) *time.Timer {
	next := owners[1].Peer
	ask := func() {
		if a, ok := next.Cached(ctx, b.group.Name, key); ok {
			h.found.Store(&a)
			b.Won.Add(1)
			end()
		}
	}
	return time.AfterFunc(owners[0].Peer.Usual(), func() {
		if b.Hedges.Load()*hedgeShare < b.Asked.Load() && b.group.Process.Spawn(ask) {
			b.Hedges.Add(1)
		}
	})
}

// or is what the owner has said, or the next one if the owner has not.
func (h *hedge) or(of *group.Errors, v outcome.Value, err error) (outcome.Value, error) {
	if a := h.found.Load(); err != nil && !of.Answered(err) && a != nil {
		return outcome.Value{Bytes: a.Value, Expire: a.Expire}, nil
	}
	return v, err
}
