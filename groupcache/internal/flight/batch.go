package flight

import (
	"context"
	"sync"
)

// Batch is work that is done for several keys at once, each of which is a flight that others can
// join.
type Batch[T any] struct {
	Flights []*Flight[T] // that this batch must land
	Joined  []*Flight[T] // of keys that are being loaded already
	Refused []string     // keys that are not loaded any more, because of Close

	ctx    context.Context // of what is done
	cancel context.CancelFunc
	landed map[*Flight[T]]bool
	stops  []func() bool // of what waits for the end of the flights' contexts
}

// Batch begins flights for keys, and joins those that there are. The context of the batch ends when
// all its flights have been abandoned, and with End.
func (t *Table[T]) Batch(ctx context.Context, keys []string) *Batch[T] {
	b := &Batch[T]{landed: make(map[*Flight[T]]bool, len(keys))}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	waitedFor := 0
	var mu sync.Mutex
	for _, key := range keys {
		f, ctxOfLoad, err := t.Join(ctx, key)
		switch {
		case err != nil:
			b.Refused = append(b.Refused, key)
			continue
		case ctxOfLoad == nil:
			b.Joined = append(b.Joined, f)
			continue
		}
		f.Await()
		mu.Lock()
		waitedFor++
		mu.Unlock()
		stop := context.AfterFunc(ctxOfLoad, func() { // the last to leave ends it
			mu.Lock()
			defer mu.Unlock()
			if waitedFor--; waitedFor == 0 {
				b.cancel()
			}
		})
		b.stops = append(b.stops, stop)
		b.Flights = append(b.Flights, f)
	}
	return b
}

// Lifetime is that of the work for the batch.
func (b *Batch[T]) Lifetime() context.Context { return b.ctx }

// End ends the context of the batch.
func (b *Batch[T]) End() { b.cancel() }

// Abstain leaves the flights that were joined: nobody here waits for them.
func (b *Batch[T]) Abstain() {
	for _, f := range b.Joined {
		f.Leave()
	}
}

// Land lands one flight of the batch, whose Data the caller has written, with its error.
func (b *Batch[T]) Land(f *Flight[T], err error) {
	b.landed[f] = true
	f.land(err)
}

// LandAll lands the flights that have not landed yet, with an error.
func (b *Batch[T]) LandAll(err error) {
	for _, stop := range b.stops {
		stop()
	}
	for _, f := range b.Flights {
		if !b.landed[f] {
			b.Land(f, err)
		}
	}
}

// Keys are those of flights.
func Keys[T any](flights []*Flight[T]) []string {
	keys := make([]string, len(flights))
	for i, f := range flights {
		keys[i] = f.Key
	}
	return keys
}
