// Package writer carries out the writes of a group, at this process and at all others. Package
// writes has the rules, and the reasons for them.
package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// A Writer writes keys of a group. Make it with New. It is safe for concurrent use.
type Writer struct {
	// Ages are when the writes under way began.
	Ages writes.Ages

	here
	left writes.Left
}

// New makes a Writer of a group with these flights.
func New(g *group.Group, flights ...*loader.Table) *Writer {
	return &Writer{here: here{g, flights}}
}

// writing is a write under way.
type writing struct {
	targets []route.Target
	tell    func(context.Context, route.Target) error
	set     *writes.Set // nil for a removal
}

// Set stores a value at the owner of the key, and removes the key from the caches of all others. A
// process that is not the owner does with it what otherwise says.
func (w *Writer) Set(ctx context.Context, key string, v outcome.Value, otherwise Keep) error {
	if limit := w.group.Process.Limits().MaxValueSize; int64(len(v.Bytes)) > limit {
		return fmt.Errorf("%w: it has %d bytes of at most %d", outcome.ErrValueTooLarge, len(v.Bytes), limit)
	}
	ctx = group.OrBackground(ctx)
	w.group.Route().Settle(ctx)
	targets := w.group.Route().All(w.group.Name, key)
	keep := otherwise
	if slices.ContainsFunc(targets, func(t route.Target) bool { return t.Owner && t.Here() }) {
		keep = (*tiers.Tiers).PutMain
	}
	left := ctx.Done()
	return w.write(ctx, key, writing{targets: targets, set: w.left.Set(key), tell: func(ctx context.Context, t route.Target) error {
		switch {
		case t.Here():
			w.replace(key, keep, v)
		case t.Owner:
			return t.Set(ctx, w.group.Name, key, v, left)
		case t.Gone || !w.group.Process.Limits().SetOwnerOnly:
			return t.Remove(ctx, w.group.Name, key)
		}
		return nil
	}})
}

// Remove drops a key from the caches of all processes.
func (w *Writer) Remove(ctx context.Context, key string) error {
	ctx = group.OrBackground(ctx)
	w.group.Route().Settle(ctx)
	return w.write(ctx, key, writing{targets: w.group.Route().All(w.group.Name, key), tell: w.removing(key)})
}

// removing tells targets to drop a key.
func (w *Writer) removing(key string) func(context.Context, route.Target) error {
	return func(ctx context.Context, t route.Target) error {
		if t.Here() {
			w.RemoveHere(key)
			return nil
		}
		return t.Remove(ctx, w.group.Name, key)
	}
}

// write tells all targets, those first and one after the other that answer for the key in the place
// of the one before. Told earlier, one of the others could fetch the old value from them again, and
// keep it.
func (w *Writer) write(ctx context.Context, key string, one writing) error {
	w.fence(key)
	done := make(chan error, 1)
	earlier := w.left.Earlier(key)
	ok := w.group.Process.Spawn(func() {
		begun := w.Ages.Begin()
		defer w.Ages.End(begun)
		done <- w.run(ctx, key, one, earlier)
	})
	if !ok {
		return outcome.ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		if one.set != nil {
			one.set.Leave()
		}
		return fmt.Errorf("groupcache: the peers are told in the background: %w", ctx.Err())
	}
}

// run tells the targets, after those Sets of the key whose callers have left. One whose caller has
// left meanwhile is a removal.
func (w *Writer) run(ctx context.Context, key string, one writing, earlier <-chan struct{}) error {
	if earlier != nil {
		<-earlier
	}
	if one.set != nil && !one.set.Begin(ctx) {
		one.set, one.tell = nil, w.removing(key)
	}
	if one.set != nil {
		defer one.set.End()
	}
	told := context.WithoutCancel(ctx)
	round := writes.Round[route.Target]{
		Life:     w.group.Process.Life,
		Tell:     func(t route.Target) error { return w.aside(func() error { return one.tell(told, t) }) },
		Miss:     func(t route.Target, err error) { t.Miss(writes.Removal{Group: w.group.Name, Key: key}, err) },
		Hopeless: wire.Hopeless,
		Down:     wire.ErrUnavailable,
	}
	return unavailable(one.targets, round.Run(one.targets))
}

// errEnded is the error of a target that was not told, or has not said so.
var errEnded = errors.New("groupcache: Options.Trace ended the goroutine of a request")

// aside tells a target on a goroutine of its own if there is a tracer, as that may end it.
func (w *Writer) aside(tell func() error) error {
	if w.group.Process.Tracer == nil {
		return tell()
	}
	return observe.Aside(errEnded, tell)
}

// unavailable joins the errors of targets that could not be told.
func unavailable(targets []route.Target, errs []error) error {
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("%w: %s: %w", outcome.ErrPeerUnavailable, targets[i].URL(), err)
		}
	}
	return errors.Join(errs...)
}
