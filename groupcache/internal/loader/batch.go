package loader

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/trace"
)

// batchesAtOnce is how many calls of a BatchGetter there are at the same time for one question.
const batchesAtOnce = 4

// Apart parts keys into those that this process owns and loads together, and others.
func (l *Loader) Apart(keys []string) (own, others []string) {
	if l.options.Batch == nil {
		return nil, keys
	}
	for _, key := range keys {
		if l.group.Owns(key) {
			own = append(own, key)
		} else {
			others = append(others, key)
		}
	}
	return own, others
}

// Fitting is how many of n keys are to be loaded for an answer that has so many bytes left, by the
// mean size of what was loaded.
func (l *Loader) Fitting(left, n int) int {
	mean := int(l.meanSize.Load())
	if l.options.Batch == nil || mean == 0 {
		return n
	}
	return min(n, max(left/mean, 2), batchesAtOnce*l.options.Batch.Most)
}

// LoadSeveral loads keys together, tells take of each, and returns those that are to be loaded one
// by one: all, if the Getter loads single keys only.
func (l *Loader) LoadSeveral(ctx context.Context, keys []string, take func(string, outcome.Value, error)) (left []string) {
	if l.options.Batch == nil || len(keys) < 2 {
		return keys
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, batchesAtOnce)
	for part := range slices.Chunk(keys, l.options.Batch.Most) {
		slots <- struct{}{}
		if err := ctx.Err(); err != nil { // nobody waits: what is begun nevertheless would take no slot
			<-slots
			for _, key := range part {
				take(key, outcome.Value{}, err)
			}
			continue
		}
		all.Go(func() {
			defer func() { <-slots }()
			undone := l.loadPart(ctx, part, take)
			mu.Lock()
			defer mu.Unlock()
			left = append(left, undone...)
		})
	}
	all.Wait()
	if len(left) > 0 {
		return l.LoadSeveral(ctx, left, take)
	}
	return nil
}

// loadPart is LoadSeveral for the keys of one call. It returns those that were to be taken from a
// peer, which does not have them.
func (l *Loader) loadPart(ctx context.Context, keys []string, take func(string, outcome.Value, error)) (undone []string) {
	b := l.Batch(ctx, keys)
	if len(b.Flights) > 0 && !l.group.Process.Spawn(func() { l.loadBatch(b.Lifetime(), b) }) { //nolint:contextcheck // that of the batch
		b.LandAll(outcome.ErrClosed)
	}
	for _, f := range slices.Concat(b.Flights, b.Joined) {
		v, err := Brought(f, f.Wait(ctx))
		if errors.Is(err, flight.ErrUndone) {
			undone = append(undone, f.Key)
			continue
		}
		l.group.Stats.Loads.Add(1)
		take(f.Key, v, err)
	}
	for _, key := range b.Refused {
		l.group.Stats.Loads.Add(1)
		take(key, outcome.Value{}, outcome.ErrClosed)
	}
	return undone
}

// loadBatch loads the keys of a batch, and lands all flights. If the Getter panics, or ends its
// goroutine, that is the error of all.
func (l *Loader) loadBatch(ctx context.Context, b *flight.Batch[Loaded]) {
	returned := false
	defer func() {
		var err error
		if !returned {
			err = l.group.Process.GetterPanicked(b.Flights[0].Key, recover())
		}
		b.End()
		b.LandAll(err)
	}()
	missing := make(map[string]*Flight, len(b.Flights))
	for _, f := range b.Flights {
		if v, ok := l.group.Tiers.Peek(f.Key); ok { // stored by a load that ended just before this one began, or handed over
			view, err := l.group.Result(v)
			Land(b, f, view, err)
			continue
		}
		missing[f.Key] = f
	}
	if len(missing) > 0 {
		err := l.askTogether(ctx, missing)
		for key, f := range missing {
			filled := f.Data.Filling
			view, err := l.settled(f, filled.Value, l.options.Batch.Failed(key, filled, err))
			Land(b, f, view, err)
		}
	}
	returned = true
}

// askTogether has the Getter load keys.
func (l *Loader) askTogether(ctx context.Context, missing map[string]*Flight) (err error) {
	l.group.Stats.LoadsDeduped.Add(int64(len(missing)))
	ctx, cancel := l.limited(ctx)
	defer cancel()
	keys := make([]string, 0, len(missing))
	for key := range missing {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	begin := time.Now()
	defer func() { l.group.Process.Loads.Observe(int64(time.Since(begin))) }()
	dest := func(key string) *outcome.Filling {
		if f := missing[key]; f != nil {
			return &f.Data.Filling
		}
		return new(outcome.Filling) // nobody has asked for it
	}
	if l.group.Process.Tracer == nil {
		return l.options.Batch.Get(ctx, keys, dest)
	}
	ctx, span := l.group.BeginSeveral(ctx, trace.Internal, "load", len(keys))
	err = outcome.ErrGetterPanicked // if it does not return
	defer func() { span.End(l.group.Ended(ctx, trace.OK, err)) }()
	return l.options.Batch.Get(ctx, keys, dest)
}
