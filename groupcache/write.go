package groupcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/internal/backoff"
)

// Set stores a value at the owner of the key, and removes the key from the caches of all others, so that no caller gets an older value
// after Set has returned nil. With a hotCache a process that is not the owner keeps the value, too. The value is copied; the zero time
// means that it never expires.
//
// The error names the peers that could not be told; each of them is told to drop the key before this process asks it again. What something on the
// way never lets through is given up, said in the log and counted: such a peer may have the old value until it expires.
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
	return g.write(ctx, key, targets, func(ctx context.Context, t target) error {
		switch {
		case t.here():
			g.replace(key, keep, v)
		case t.owner:
			return t.set(ctx, g.name, key, v)
		case t.left || !g.instance.setOwnerOnly():
			return t.remove(ctx, g.name, key)
		}
		return nil
	})
}

// Remove drops a key from the caches of all peers, so that no caller gets a value loaded before, after Remove has returned nil. It works on
// if the context ends, and returns then.
//
// The error names the peers that could not be told; each of them is told before this process asks it again. What something on the way never lets
// through is given up, said in the log and counted: such a peer may have the value until it expires.
func (g *Group) Remove(ctx context.Context, key string) error {
	g.route().settle(orBackground(ctx))
	return g.write(ctx, key, g.route().all(g.name, key), func(ctx context.Context, t target) error {
		if t.here() {
			g.removeHere(key)
			return nil
		}
		return t.remove(ctx, g.name, key)
	})
}

// write tells all targets, those first and one after the other that answer for the key in the place of the one before. Told earlier, one of
// the others could fetch the old value from them again, and keep it.
func (g *Group) write(ctx context.Context, key string, targets []target, tell func(context.Context, target) error) error {
	ctx = orBackground(ctx)
	g.dropLoads(key)
	done := make(chan error, 1)
	w := writing{group: g, ctx: context.WithoutCancel(ctx), key: key, tell: tell}
	ok := g.instance.spawn(func() {
		begun := g.removals.begin()
		defer g.removals.end(begun)
		done <- w.run(targets)
	})
	if !ok {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("groupcache: the peers are told in the background: %w", ctx.Err())
	}
}

// dropLoads makes the loads under way of a key ones that are not joined, and whose result is not kept.
func (g *Group) dropLoads(key string) {
	g.loads.fence(key)
	g.fetches.fence(key)
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

// writing is one Set or Remove on its way to the peers.
type writing struct {
	group *Group
	ctx   context.Context // of this one call
	key   string
	tell  func(context.Context, target) error
}

const tellAttempts = 3

// tellAgain spaces the attempts to tell a peer.
var tellAgain = backoff.Exponential{Base: 10 * time.Millisecond, Cap: 100 * time.Millisecond, Factor: 3} //nolint:gochecknoglobals // never changes

// run tells all targets, and joins what went wrong.
func (w *writing) run(targets []target) error {
	errs := make([]error, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		if t.ranked {
			errs[i] = w.tellOne(t)
			continue
		}
		all.Go(func() { errs[i] = w.tellOne(t) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// tellOne tells one target, again if it fails. What does not arrive is kept for it.
func (w *writing) tellOne(t target) error {
	if t.left {
		w.tellLeft(t)
		return nil
	}
	err := w.tell(w.ctx, t)
	for attempt := 0; attempt+1 < tellAttempts && err != nil && t.mayRecover(err); attempt++ {
		if !backoff.Pause(w.group.instance.life, tellAgain.Delay(attempt)) {
			break
		}
		err = w.tell(w.ctx, t)
	}
	if err == nil {
		return nil
	}
	if t.peer != nil && !peer.Hopeless(err) {
		t.peer.Miss(w.group.name, w.key, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrPeerUnavailable, t.url(), err)
}

// tellLeft tells a peer that has left. What it does not hear is kept for it, for the case that it comes back.
func (w *writing) tellLeft(t target) {
	err := error(peer.ErrUnavailable)
	if t.peer.Up() {
		err = w.tell(w.ctx, t)
	}
	if err != nil && !peer.Hopeless(err) {
		t.peer.Miss(w.group.name, w.key, err)
	}
}

// mayRecover says whether another attempt makes sense.
func (t target) mayRecover(err error) bool {
	return (t.peer == nil || t.peer.Up()) && !peer.Hopeless(err)
}

// ages keeps when things under way began.
type ages struct {
	mu    sync.Mutex
	began map[int64]time.Time // guarded by mu
	last  int64               // guarded by mu
}

func (a *ages) begin() (id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.began == nil {
		a.began = make(map[int64]time.Time)
	}
	a.last++
	a.began[a.last] = time.Now()
	return a.last
}

func (a *ages) end(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.began, id)
}

// active is how many things are under way, and when the oldest began.
func (a *ages) active() (n int64, oldest time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.began {
		if oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	return int64(len(a.began)), oldest
}
