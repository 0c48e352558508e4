package groupcache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// Removal says what became of RemoveAll or RemovePrefix at the other peers, by their addresses.
type Removal struct {
	// Done are the peers that have dropped what they had.
	Done []string
	// Missed are the peers that could not be told. Each of them is told before this process asks it
	// again.
	Missed []string
	// Unable are the peers that cannot do it, and may answer with old values until they expire:
	// those of the original, those of a foreign PeerPicker, and those behind something that lets no
	// such request through.
	Unable []string
}

// RemoveAll drops all keys of the group from the caches of all peers. See RemovePrefix. Clear is
// its counterpart for this process alone.
func (g *Group) RemoveAll(ctx context.Context) (Removal, error) { return g.RemovePrefix(ctx, "") }

// RemovePrefix drops all keys that begin with a prefix from the caches of all peers, so that no
// caller gets a value loaded before, after RemovePrefix has returned nil. It asks each peer twice,
// and costs each a walk through the group's caches. It works on if the context ends, and returns
// then, without a Removal. A peer that has not begun within 20 seconds has missed it.
//
// The error is nil if all peers have done it, and names those that have not: the others have
// dropped what they had, but may be given an old value by those, and keep it. A peer of an older
// version drops all that it has, of all groups.
func (g *Group) RemovePrefix(ctx context.Context, prefix string) (Removal, error) {
	ctx = orBackground(ctx)
	router := g.route()
	router.settle(ctx)
	id := rand.Text()
	if pool := router.pool(); pool != nil { // before the list is made: who comes later is told of it
		pool.Beginning().Add(g.name, writes.Sweep{Phase: writes.Begin, ID: id, Prefix: prefix})
	}
	targets := router.others(g.name, prefix)
	told := context.WithoutCancel(ctx)
	var removal Removal
	done := make(chan error, 1)
	earlier := g.left.EarlierUnder(prefix)
	ok := g.instance.spawn(func() {
		begun := g.removals.Begin()
		defer g.removals.End(begun)
		for _, over := range earlier {
			<-over
		}
		var err error
		removal, err = g.sweep(told, id, prefix, targets)
		done <- err
	})
	if !ok {
		g.haveBegun(id)
		return Removal{}, ErrClosed
	}
	select {
	case err := <-done:
		return removal, err
	case <-ctx.Done():
		return Removal{}, fmt.Errorf("groupcache: the peers are told in the background: %w", ctx.Err())
	}
}

// sweep tells all processes to begin, and then all that have begun to end. See package writes for
// the reason.
func (g *Group) sweep(ctx context.Context, id, prefix string, targets []target) (Removal, error) {
	step := func(ctx context.Context, phase writes.Phase, targets []target) []error {
		return writes.Round[target]{
			Life: g.instance.life,
			Tell: func(t target) error { return t.sweep(ctx, g.name, writes.Sweep{Phase: phase, ID: id, Prefix: prefix}) },
			Miss: func(t target, err error) {
				t.miss(writes.Removal{Group: g.name, Key: prefix, Prefix: true}, err)
			},
			Hopeless: peer.Hopeless,
			Down:     peer.ErrUnavailable,
		}.Run(targets)
	}
	g.beginSweep(id, prefix)
	defer g.sweeps.End(id)
	var r Removal
	var errs []error
	failed := func(t target, err error) {
		errs = append(errs, fmt.Errorf("%w: %s: %w", ErrPeerUnavailable, t.url(), err))
		if t.peer == nil || peer.Hopeless(err) {
			r.Unable = append(r.Unable, t.url())
			return
		}
		r.Missed = append(r.Missed, t.url())
	}
	var begun []target
	limited, cancel := context.WithTimeout(ctx, writes.BeginWithin)
	defer cancel()
	for i, err := range step(limited, writes.Begin, targets) {
		if err == nil {
			begun = append(begun, targets[i])
		} else {
			failed(targets[i], err)
		}
	}
	g.haveBegun(id)
	g.endElsewhere(ctx, writes.Sweep{Phase: writes.End, ID: id, Prefix: prefix}, begun)
	for i, err := range step(ctx, writes.End, begun) {
		switch t := begun[i]; {
		case err != nil:
			failed(t, err)
		case !t.left:
			r.Done = append(r.Done, t.url())
		}
	}
	return r, errors.Join(errs...)
}

// haveBegun ends the first step of a sweep: a process that comes now finds nothing old at others.
func (g *Group) haveBegun(id string) {
	if pool := g.route().pool(); pool != nil {
		pool.Beginning().Done(id)
	}
}

// endElsewhere tells those of the end who have begun as they came, or came back, while others
// began. One that does not hear it waits no longer for it than for a writer that has died.
func (g *Group) endElsewhere(ctx context.Context, end writes.Sweep, begun []target) {
	pool := g.route().pool()
	if pool == nil {
		return
	}
	for _, p := range pool.Peers() {
		known := slices.ContainsFunc(begun, func(t target) bool { return t.peer == p })
		if !known && p.Up() {
			g.instance.spawn(func() { _ = p.Sweep(ctx, g.name, end) })
		}
	}
}

// sweepHere is what peers ask for.
func (g *Group) sweepHere(s writes.Sweep) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("%w: removal by prefix: %w", peer.ErrRefused, err)
	}
	switch s.Phase {
	case writes.Begin:
		g.beginSweep(s.ID, s.Prefix)
	case writes.End:
		g.sweeps.End(s.ID)
	case writes.Once:
		g.touched.AddPrefix(s.Prefix)
		g.dropPrefix(s.Prefix)
	}
	return nil
}

func (g *Group) beginSweep(id, prefix string) {
	g.sweeps.Begin(id, prefix) // first: what comes from now on is not kept
	g.touched.AddPrefix(prefix)
	g.dropPrefix(prefix)
}

// dropPrefix drops what this process has of the keys that begin with a prefix, and what is being
// loaded of them.
func (g *Group) dropPrefix(prefix string) {
	g.fencePrefix(prefix)
	g.main.RemovePrefix(prefix)
	g.hot.RemovePrefix(prefix)
	g.fencePrefix(prefix) // loads that began meanwhile may have found old values in the caches
}

func (g *Group) fencePrefix(prefix string) {
	g.loads.FencePrefix(prefix)
	g.fetches.FencePrefix(prefix)
}
