package groupcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// A BatchGetter is a Getter that can load several keys at once, with one query. A group whose
// Getter is one has it load the keys of a GetMulti that no cache has: in this process those that it
// owns, and at their owner those that a peer asks for. Keys that are being loaded already are
// waited for instead. Single Gets are loaded by Get.
type BatchGetter interface {
	Getter
	// GetBatch loads the values of keys, at most MaxBatch and no key twice, and gives each to its
	// sink. A key whose sink is given nothing does not exist: its callers get an *ErrNotFound. An
	// error is that of all keys whose sinks were given nothing; KeyErrors are errors of single
	// keys. The context is as that of Getter.Get; dest must not be called once GetBatch has
	// returned.
	GetBatch(ctx context.Context, keys []string, dest func(key string) Sink) error
}

// MaxBatch is the largest number of keys that a BatchGetter is asked for at once.
const MaxBatch = 500

// batchesAtOnce is how many calls of a BatchGetter one GetMulti makes at the same time.
const batchesAtOnce = 4

// KeyErrors is what a BatchGetter returns if some of the keys could not be loaded: why, by key. An
// *ErrNotFound among them is kept as that of a Getter.
type KeyErrors map[string]error

// Error names the first of the keys.
func (e KeyErrors) Error() string {
	if len(e) == 0 {
		return "groupcache: no key has failed"
	}
	keys := make([]string, 0, len(e))
	for key := range e {
		keys = append(keys, key)
	}
	first := slices.Min(keys)
	return fmt.Sprintf("groupcache: %d keys could not be loaded: key %s: %v", len(e), observe.Quote(first), e[first])
}

// Unwrap returns the errors of all keys.
func (e KeyErrors) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, err := range e {
		all = append(all, err)
	}
	return all
}

// A BatchGetterFunc is a function that is a BatchGetter: it loads a single key as a batch of one.
type BatchGetterFunc func(ctx context.Context, keys []string, dest func(key string) Sink) error

// GetBatch calls f.
func (f BatchGetterFunc) GetBatch(ctx context.Context, keys []string, dest func(key string) Sink) error {
	return f(ctx, keys, dest)
}

// Get calls f with one key.
func (f BatchGetterFunc) Get(ctx context.Context, key string, dest Sink) error {
	var own loadSink
	err := f(ctx, []string{key}, func(k string) Sink {
		if k != key {
			return new(loadSink)
		}
		return &own
	})
	if err := notSet(key, &own, err); err != nil {
		return err
	}
	return dest.setView(own.view)
}

// notSet is why a key has no value after a batch that ended with err; nil if it has one. A key that
// is not there is known to be absent only if there was no error but those of other keys.
func notSet(key string, s *loadSink, err error) error {
	others, own := partErrors(err, key)
	switch {
	case own != nil:
		return own
	case s.set:
		return nil
	}
	switch err.(type) { //nolint:errorlint // an error that has others beside KeyErrors is of all keys
	case nil, KeyErrors:
		return &ErrNotFound{Msg: "the batch has no value for it"}
	}
	return ofAll{err, others}
}

// partErrors parts what a batch returned into the errors that are not of single keys and that of a
// key.
func partErrors(err error, key string) (others []error, own error) {
	if !errors.As(err, new(KeyErrors)) {
		return []error{err}, nil
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked
	case KeyErrors:
		return nil, e[key]
	case interface{ Unwrap() error }:
		return partErrors(e.Unwrap(), key)
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			more, its := partErrors(part, key)
			others = append(others, more...)
			if own == nil {
				own = its
			}
		}
	}
	return others, own
}

// ofAll is the error of all keys that a batch returned, beside those of single keys perhaps. It
// wraps what is not of those: that another key is known to be absent says nothing about this one.
type ofAll struct {
	error
	others []error
}

// Unwrap returns what is not of single keys.
func (e ofAll) Unwrap() []error { return e.others }

// land lands one flight of a batch with what it has brought.
func land(b *flight.Batch[loaded], f *loading, v ByteView, err error) {
	f.Data.view = v
	b.Land(f, err)
}

// apart parts keys into those that this process owns and others.
func (g *Group) apart(keys []string) (own, others []string) {
	if g.batches == nil {
		return nil, keys
	}
	for _, key := range keys {
		if g.owns(key) {
			own = append(own, key)
		} else {
			others = append(others, key)
		}
	}
	return own, others
}

// batchFor is how many of n keys a BatchGetter is to load for an answer that has so many bytes
// left, by the mean size of what it has loaded.
func (g *Group) batchFor(left, n int) int {
	mean := int(g.meanSize.Load())
	if g.batches == nil || mean == 0 {
		return n
	}
	return min(n, max(left/mean, 2), batchesAtOnce*MaxBatch)
}

// sawSize takes note of the size of a value that was loaded.
func (g *Group) sawSize(size int) {
	mean := g.meanSize.Load()
	if mean == 0 {
		mean = int64(size)
	}
	g.meanSize.Store(max(mean+(int64(size)-mean)/8, 1))
}

// loadSeveral has a BatchGetter load keys, and returns those that are to be loaded one by one: all,
// if there is none.
func (g *Group) loadSeveral(ctx context.Context, keys []string, take func(string, ByteView, error)) (left []string) {
	if g.batches == nil || len(keys) < 2 {
		return keys
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, batchesAtOnce)
	for part := range slices.Chunk(keys, MaxBatch) {
		slots <- struct{}{}
		if err := ctx.Err(); err != nil { // nobody waits: what is begun nevertheless would take no slot
			<-slots
			for _, key := range part {
				take(key, ByteView{}, err)
			}
			continue
		}
		all.Go(func() {
			defer func() { <-slots }()
			b := g.loads.Batch(ctx, part)
			if len(b.Flights) > 0 && !g.instance.spawn(func() { g.loadBatch(b.Context(), b) }) { //nolint:contextcheck // that of the batch
				b.LandAll(ErrClosed)
			}
			for _, f := range slices.Concat(b.Flights, b.Joined) {
				v, err := brought(f, f.Wait(ctx))
				if errors.Is(err, flight.ErrUndone) { // it was to be taken from a peer, which does not have it
					mu.Lock()
					left = append(left, f.Key)
					mu.Unlock()
					continue
				}
				g.Stats.Loads.Add(1)
				take(f.Key, v, err)
			}
			for _, key := range b.Refused {
				g.Stats.Loads.Add(1)
				take(key, ByteView{}, ErrClosed)
			}
		})
	}
	all.Wait()
	if len(left) > 0 {
		return g.loadSeveral(ctx, left, take)
	}
	return nil
}

// loadBatch has the BatchGetter load the keys of a batch, and lands all flights. If it panics, or
// ends its goroutine, that is the error of all.
func (g *Group) loadBatch(ctx context.Context, b *flight.Batch[loaded]) {
	returned := false
	defer func() {
		var err error
		if !returned {
			err = g.instance.getterPanicked(b.Flights[0].Key, recover())
		}
		b.End()
		b.LandAll(err)
	}()
	missing := make(map[string]*loading, len(b.Flights))
	for _, f := range b.Flights {
		if v, ok := g.peek(f.Key); ok { // stored by a load that ended just before this one began, or handed over
			view, err := result(v)
			land(b, f, view, err)
			continue
		}
		missing[f.Key] = f
	}
	if len(missing) > 0 {
		err := g.askBatch(ctx, missing)
		for key, f := range missing {
			view, err := g.settled(f, f.Data.sink.view, notSet(key, &f.Data.sink, err))
			land(b, f, view, err)
		}
	}
	returned = true
}

// askBatch calls the BatchGetter.
func (g *Group) askBatch(ctx context.Context, missing map[string]*loading) error {
	g.Stats.LoadsDeduped.Add(int64(len(missing)))
	if g.config.loadTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.config.loadTimeout)
		defer cancel()
	}
	keys := make([]string, 0, len(missing))
	for key := range missing {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	begin := time.Now()
	defer func() { g.instance.histograms.loads.Observe(int64(time.Since(begin))) }()
	dest := func(key string) Sink {
		if f := missing[key]; f != nil {
			return &f.Data.sink
		}
		return new(loadSink) // nobody has asked for it
	}
	if g.instance.tracer != nil {
		return g.askBatchTraced(ctx, keys, dest)
	}
	return g.batches.GetBatch(ctx, keys, dest)
}
