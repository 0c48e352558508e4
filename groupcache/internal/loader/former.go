package loader

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

// FormerBudget bounds how long a load waits for former owners.
const FormerBudget = 50 * time.Millisecond

// inherit looks for a key in the caches of those who owned it before the peers changed. What was
// set or removed here lately is not asked for: they may not have been told yet.
func (l *Loader) inherit(ctx context.Context, key string) (outcome.Value, bool) {
	former := l.group.Route().Former(key)
	if len(former) == 0 || l.group.Touched.Has(key) {
		return outcome.Value{}, false
	}
	asked, _ := ctx.Value(inVain{}).(map[string][]*peer.Peer)
	ctx, cancel := context.WithTimeoutCause(ctx, FormerBudget, peer.ErrTooLate)
	defer cancel()
	for _, p := range former {
		if slices.Contains(asked[key], p) {
			continue
		}
		if a, ok := p.Inherit(ctx, l.group.Name, key); ok && l.group.Process.Alive(a.Expire) {
			l.Inherited.Add(1)
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
