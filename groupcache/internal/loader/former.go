package loader

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

// FormerBudget bounds how long a load waits for former owners.
const FormerBudget = 50 * time.Millisecond

// former asks the caches of former owners: peers that owned a key before the peers changed.
type former struct {
	group *group.Group
	found atomic.Int64 // values
}

// find looks for a key there. A key that was set or removed here lately is not asked for: they may
// not have been told yet.
func (f *former) find(ctx context.Context, key string) (outcome.Value, bool) {
	owners := f.group.Route().Former(key)
	if len(owners) == 0 || f.group.Touched.Has(key) {
		return outcome.Value{}, false
	}
	asked, _ := ctx.Value(inVain{}).(map[string][]*peer.Peer)
	ctx, cancel := context.WithTimeoutCause(ctx, FormerBudget, peer.ErrTooLate)
	defer cancel()
	for _, p := range owners {
		if slices.Contains(asked[key], p) {
			continue
		}
		if a, ok := p.Inherit(ctx, f.group.Name, key); ok && f.group.Process.Alive(a.Expire) {
			f.found.Add(1)
			return outcome.Value{Bytes: a.Value, Expire: a.Expire}, true
		}
	}
	return outcome.Value{}, false
}

// inVain is the key of what a context knows of peers that were asked in vain:
// map[string][]*peer.Peer.
type inVain struct{}

// AskedInVain returns a context for loads, which need not ask these peers for these keys once more.
func AskedInVain(ctx context.Context, peers map[string][]*peer.Peer) context.Context {
	return context.WithValue(ctx, inVain{}, peers)
}
