package groupcache

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
)

var errNilSink = errors.New("groupcache: Get: dest is nil: pass a Sink, such as StringSink(&s)")

// Get finds the value of a key and gives it to dest: from this process's caches, else from the
// key's owner, else from the Getter. All callers that ask for a key at the same time share one
// load. It returns the Getter's error, wherever that ran, or the context's.
func (g *Group) Get(ctx context.Context, key string, dest Sink) error {
	if dest == nil {
		return errNilSink
	}
	v, err := g.View(ctx, key)
	if err != nil {
		return err
	}
	return dest.setView(v)
}

// View is Get without a Sink. A value that is in the cache costs no allocation.
func (g *Group) View(ctx context.Context, key string) (ByteView, error) {
	v, ok := g.shared.Tiers.Get(key)
	if !ok {
		found, err := g.parts.Finder.Find(ctx, key)
		return viewOf(found), err
	}
	if v.Stale {
		g.parts.Finder.Revalidate(key)
	}
	found, err := g.shared.Result(v)
	return viewOf(found), err
}

// GetMulti finds the values of several keys, with one request to each owner. A key that is not
// found is missing in the map. The error joins what went wrong with other keys, whose values are
// missing, too; the map is never nil.
func (g *Group) GetMulti(ctx context.Context, keys []string) (map[string]ByteView, error) {
	found := make(map[string]ByteView, len(keys))
	return found, g.parts.FindEach(ctx, keys, func(key string, v outcome.Value) { found[key] = viewOf(v) })
}
