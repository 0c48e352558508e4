package writer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// Swept says what became of a removal by prefix at the other processes, by their addresses.
type Swept struct{ Done, Missed, Unable []string }

// RemovePrefix drops all keys that begin with a prefix from the caches of all processes.
func (w *Writer) RemovePrefix(ctx context.Context, prefix string) (Swept, error) {
	ctx = group.OrBackground(ctx)
	router := w.group.Route()
	router.Settle(ctx)
	id := rand.Text()
	if pool := router.Pool(); pool != nil { // before the list is made: who comes later is told of it
		pool.Beginning().Add(w.group.Name, writes.Sweep{Phase: writes.Begin, ID: id, Prefix: prefix})
	}
	targets := router.Others(w.group.Name, prefix)
	told := context.WithoutCancel(ctx)
	var removal Swept
	done := make(chan error, 1)
	earlier := w.left.EarlierUnder(prefix)
	ok := w.group.Process.Spawn(func() {
		begun := w.Ages.Begin()
		defer w.Ages.End(begun)
		for _, over := range earlier {
			<-over
		}
		var err error
		removal, err = w.sweep(told, id, prefix, targets)
		done <- err
	})
	if !ok {
		w.haveBegun(id)
		return Swept{}, outcome.ErrClosed
	}
	select {
	case err := <-done:
		return removal, err
	case <-ctx.Done():
		return Swept{}, fmt.Errorf("groupcache: the peers are told in the background: %w", ctx.Err())
	}
}

// sweep tells all processes to begin, and then all that have begun to end. See package writes for
// the reason.
func (w *Writer) sweep(ctx context.Context, id, prefix string, targets []route.Target) (Swept, error) {
	step := func(ctx context.Context, phase writes.Phase, targets []route.Target) []error {
		return writes.Round[route.Target]{
			Life: w.group.Process.Life,
			Tell: func(t route.Target) error {
				return w.aside(func() error {
					return t.Sweep(ctx, w.group.Name, writes.Sweep{Phase: phase, ID: id, Prefix: prefix})
				})
			},
			Miss: func(t route.Target, err error) {
				t.Miss(writes.Removal{Group: w.group.Name, Key: prefix, Prefix: true}, err)
			},
			Hopeless: wire.Hopeless,
			Down:     wire.ErrUnavailable,
		}.Run(targets)
	}
	w.beginSweep(id, prefix)
	defer w.group.Sweeps.End(id)
	var r Swept
	var errs []error
	failed := func(t route.Target, err error) {
		errs = append(errs, fmt.Errorf("%w: %s: %w", outcome.ErrPeerUnavailable, t.URL(), err))
		if t.Peer == nil || wire.Hopeless(err) {
			r.Unable = append(r.Unable, t.URL())
			return
		}
		r.Missed = append(r.Missed, t.URL())
	}
	var begun []route.Target
	limited, cancel := context.WithTimeout(ctx, writes.BeginWithin)
	defer cancel()
	for i, err := range step(limited, writes.Begin, targets) {
		if err == nil {
			begun = append(begun, targets[i])
		} else {
			failed(targets[i], err)
		}
	}
	w.haveBegun(id)
	w.endElsewhere(ctx, writes.Sweep{Phase: writes.End, ID: id, Prefix: prefix}, begun)
	for i, err := range step(ctx, writes.End, begun) {
		switch t := begun[i]; {
		case err != nil:
			failed(t, err)
		case !t.Gone:
			r.Done = append(r.Done, t.URL())
		}
	}
	return r, errors.Join(errs...)
}

// haveBegun ends the first step of a sweep: a process that comes now finds nothing old at others.
func (w *Writer) haveBegun(id string) {
	if pool := w.group.Route().Pool(); pool != nil {
		pool.Beginning().Done(id)
	}
}

// endElsewhere tells the peers of the end that have begun as they came, or came back, while others
// began. One that does not hear it waits no longer for it than for a writer that has died.
func (w *Writer) endElsewhere(ctx context.Context, end writes.Sweep, begun []route.Target) {
	pool := w.group.Route().Pool()
	if pool == nil {
		return
	}
	for _, p := range pool.Peers() {
		known := slices.ContainsFunc(begun, func(t route.Target) bool { return t.Peer == p })
		if !known && p.Up() {
			w.group.Process.Spawn(func() { _ = p.Sweep(ctx, w.group.Name, end) })
		}
	}
}
