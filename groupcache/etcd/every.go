package etcd

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// everyGroup answers peers for the groups of a Server, and in the place of one that it does not
// have for the newest group of that name in the process, registered with another Server or with
// none.
type everyGroup struct{ wire.Local }

var _ wire.Local = everyGroup{}

// elsewhere is what answers for a group that is none of the Server's, which said err; nil if
// nothing does.
func elsewhere(group string, err error) wire.Local {
	if !errors.Is(err, wire.ErrNoGroup) {
		return nil
	}
	if g := groups.get(group); g != nil {
		return g.answering()
	}
	return nil
}

// Get implements wire.Local.
func (e everyGroup) Get(ctx context.Context, group, key string, loading func()) (wire.Answer, error) {
	a, err := e.Local.Get(ctx, group, key, loading)
	if l := elsewhere(group, err); l != nil {
		return l.Get(ctx, group, key, loading)
	}
	return a, err
}

// GetMulti implements wire.Local.
func (e everyGroup) GetMulti(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	a, err := e.Local.GetMulti(ctx, group, keys)
	if l := elsewhere(group, err); l != nil {
		return l.GetMulti(ctx, group, keys)
	}
	return a, err
}

// GetCached implements wire.Local.
func (e everyGroup) GetCached(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	a, err := e.Local.GetCached(ctx, group, keys)
	if l := elsewhere(group, err); l != nil {
		return l.GetCached(ctx, group, keys)
	}
	return a, err
}

// Set implements wire.Local.
func (e everyGroup) Set(ctx context.Context, group, key, value string, expire int64) error {
	err := e.Local.Set(ctx, group, key, value, expire)
	if l := elsewhere(group, err); l != nil {
		return l.Set(ctx, group, key, value, expire)
	}
	return err
}

// Remove implements wire.Local.
func (e everyGroup) Remove(ctx context.Context, group string, keys ...string) error {
	err := e.Local.Remove(ctx, group, keys...)
	if l := elsewhere(group, err); l != nil {
		return l.Remove(ctx, group, keys...)
	}
	return err
}

// Sweep implements wire.Local.
func (e everyGroup) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	err := e.Local.Sweep(ctx, group, s)
	if l := elsewhere(group, err); l != nil {
		return l.Sweep(ctx, group, s)
	}
	return err
}

// Written implements wire.Local.
func (e everyGroup) Written(ctx context.Context, group string, within time.Duration, keys []string) ([]wire.Answer, error) {
	a, err := e.Local.Written(ctx, group, within, keys)
	if l := elsewhere(group, err); l != nil {
		return l.Written(ctx, group, within, keys)
	}
	return a, err
}

// Forget implements wire.Local. What others have is out of date, too: they are not told of writes
// in another way.
func (e everyGroup) Forget() {
	e.Local.Forget()
	for _, g := range groups.all() {
		if l := g.answering(); l != e.Local {
			l.Forget()
		}
	}
}
