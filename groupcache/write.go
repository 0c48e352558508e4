package groupcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// Set stores a value at the owner of the key, and removes the key from the caches of all others, so
// that no caller gets an older value after Set has returned nil. With a hotCache a process that is
// not the owner keeps the value, too. The value is copied; the zero time means that it never
// expires. It works on if the context ends, and returns then; a value that has not gone out by then
// does not, and its key is removed everywhere.
//
// The error names the peers that could not be told; each of them is told to drop the key before
// this process asks it again. What something on the way never lets through is given up, said in the
// log and counted: such a peer may have the old value until it expires.
func (g *Group) Set(ctx context.Context, key string, value []byte, expire time.Time, hotCache bool) error { //nolint:revive // the original's signature
	if limit := g.instance.maxValueSize(); int64(len(value)) > limit {
		return fmt.Errorf("%w: it has %d bytes of at most %d", ErrValueTooLarge, len(value), limit)
	}
	v := ByteView{string(value), nanoseconds(expire)}
	keep := g.putNowhere
	if hotCache {
		keep = g.putHot
	}
	g.route().settle(orBackground(ctx))
	targets := g.route().all(g.name, key)
	if slices.ContainsFunc(targets, func(t target) bool { return t.owner && t.here() }) {
		keep = g.putMain
	}
	ctx = orBackground(ctx)
	left := ctx.Done()
	return g.write(ctx, key, writing{targets: targets, set: g.left.Set(key), tell: func(ctx context.Context, t target) error {
		switch {
		case t.here():
			g.replace(key, keep, v)
		case t.owner:
			return t.set(ctx, g.name, key, v, left)
		case t.left || !g.instance.setOwnerOnly():
			return t.remove(ctx, g.name, key)
		}
		return nil
	}})
}

// Remove drops a key from the caches of all peers, so that no caller gets a value loaded before,
// after Remove has returned nil. It works on if the context ends, and returns then.
//
// The error names the peers that could not be told; each of them is told before this process asks
// it again. What something on the way never lets through is given up, said in the log and counted:
// such a peer may have the value until it expires.
func (g *Group) Remove(ctx context.Context, key string) error {
	g.route().settle(orBackground(ctx))
	return g.write(ctx, key, writing{targets: g.route().all(g.name, key), tell: g.removing(key)})
}

// removing tells targets to drop a key.
func (g *Group) removing(key string) func(context.Context, target) error {
	return func(ctx context.Context, t target) error {
		if t.here() {
			g.removeHere(key)
			return nil
		}
		return t.remove(ctx, g.name, key)
	}
}

// writing is a write under way.
type writing struct {
	targets []target
	tell    func(context.Context, target) error
	set     *writes.Set // nil for a removal
}

// run tells the targets, after those Sets of the key whose callers have left. One whose caller has
// left meanwhile is a removal.
func (g *Group) run(ctx context.Context, key string, w writing, earlier <-chan struct{}) error {
	if earlier != nil {
		<-earlier
	}
	if w.set != nil && !w.set.Begin(ctx) {
		w.set, w.tell = nil, g.removing(key)
	}
	if w.set != nil {
		defer w.set.End()
	}
	told := context.WithoutCancel(ctx)
	round := writes.Round[target]{
		Life:     g.instance.life,
		Tell:     func(t target) error { return w.tell(told, t) },
		Miss:     func(t target, err error) { t.miss(writes.Removal{Group: g.name, Key: key}, err) },
		Hopeless: peer.Hopeless,
		Down:     peer.ErrUnavailable,
	}
	return unavailable(w.targets, round.Run(w.targets))
}

// write tells all targets, those first and one after the other that answer for the key in the place
// of the one before. Told earlier, one of the others could fetch the old value from them again, and
// keep it.
func (g *Group) write(ctx context.Context, key string, w writing) error {
	ctx = orBackground(ctx)
	g.dropLoads(key)
	done := make(chan error, 1)
	earlier := g.left.Earlier(key)
	ok := g.instance.spawn(func() {
		begun := g.removals.Begin()
		defer g.removals.End(begun)
		done <- g.run(ctx, key, w, earlier)
	})
	if !ok {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		if w.set != nil {
			w.set.Leave()
		}
		return fmt.Errorf("groupcache: the peers are told in the background: %w", ctx.Err())
	}
}

// unavailable joins the errors of targets that could not be told.
func unavailable(targets []target, errs []error) error {
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("%w: %s: %w", ErrPeerUnavailable, targets[i].url(), err)
		}
	}
	return errors.Join(errs...)
}

// dropLoads makes the loads under way of a key ones that are not joined, and whose result is not
// kept.
func (g *Group) dropLoads(key string) {
	g.loads.Fence(key)
	g.fetches.Fence(key)
}

func (g *Group) putMain(key string, v ByteView) {
	g.hot.Remove(key)
	g.main.Add(store.Item{Key: key, Value: v.s, Expire: v.expire})
}

func (g *Group) putHot(key string, v ByteView) {
	g.main.Remove(key)
	g.keepGuest(store.Item{Key: key, Value: v.s, Expire: v.expire})
}

func (g *Group) putNowhere(key string, _ ByteView) {
	g.main.Remove(key)
	g.hot.Remove(key)
}

// replace drops what this process has of a key, and keeps the value if keep does.
func (g *Group) replace(key string, keep func(string, ByteView), v ByteView) {
	g.touch(key)
	g.dropLoads(key)
	keep(key, v)
	g.dropLoads(key) // a load that began meanwhile may have found the old value in the cache
}

// setHere and removeHere are what peers ask for.
func (g *Group) setHere(key string, v ByteView) { g.replace(key, g.putMain, v) }

func (g *Group) removeHere(key string) { g.replace(key, g.putNowhere, ByteView{}) }
