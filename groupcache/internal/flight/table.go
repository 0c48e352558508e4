package flight

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"
	"time"
)

// Options say what a table's flights do.
type Options[T any] struct {
	// Work loads the key of a flight into its Data.
	Work func(ctx context.Context, f *Flight[T]) error
	// Begin begins the work of a flight whose first caller can leave, and waits for nothing. It
	// returns nil if the work cannot be begun so. Optional.
	Begin func(ctx context.Context, f *Flight[T]) Begun
	// Panicked makes the error of a load that panicked, or, with a nil cause, ended its goroutine.
	Panicked func(key string, cause any) error
	// Life is the context of flights whose first caller cannot leave, and brings no values.
	Life context.Context
	// Limit bounds the time of a load that nobody waits for. Default 0: see Flight.Leave.
	Limit time.Duration
	// Closed is the error of calls after Close.
	Closed error
}

// Table has the flights of one kind. Make it with New; most callers want Do. It is safe for
// concurrent use.
type Table[T any] struct {
	options Options[T]
	seed    maphash.Seed
	shards  [shards]shard[T]
}

const shards = 64

// New makes a table without flights.
func New[T any](o Options[T]) *Table[T] {
	t := &Table[T]{options: o, seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].live = make(map[string]*Flight[T])
		t.shards[i].apart = make(map[*Flight[T]]struct{})
	}
	return t
}

func (t *Table[T]) shard(key string) *shard[T] {
	return &t.shards[maphash.String(t.seed, key)%shards]
}

// Do loads a key, or waits for the load under way, and returns the flight that has landed.
func (t *Table[T]) Do(ctx context.Context, key string) (*Flight[T], error) {
	f, ctxOfLoad, err := t.Join(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case ctxOfLoad == nil:
		err := f.Wait(ctx)
		if errors.Is(err, ErrUndone) {
			return t.Do(ctx, key)
		}
		return f, err
	case ctx.Done() == nil: // this caller cannot leave: it may as well do the work
		t.run(ctxOfLoad, f, t.options.Work)
		return f, f.err
	}
	return f, t.lead(ctx, ctxOfLoad, f)
}

// Start loads a key in the background, unless it is being loaded.
func (t *Table[T]) Start(ctx context.Context, key string) {
	f, ctxOfLoad, err := t.Join(ctx, key)
	if err == nil && ctxOfLoad != nil {
		go t.run(ctxOfLoad, f, t.options.Work)
	} else if err == nil {
		f.Leave()
	}
}

// Join returns the key's flight under way, or a new one with its context, whose work the caller
// must do and whose landing it must see to. The context has the values of the caller's, not its
// end.
func (t *Table[T]) Join(ctx context.Context, key string) (f *Flight[T], ctxOfLoad context.Context, err error) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, t.options.Closed
	}
	if f := s.live[key]; f != nil {
		f.waiting++
		f.awaitLocked()
		return f, nil, nil
	}
	f = &Flight[T]{Key: key, shard: s, Began: time.Now(), limit: t.options.Limit, waiting: 1}
	s.live[key] = f
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	f.values = ctx
	if ctx == context.Background() || ctx == t.options.Life {
		return f, t.options.Life, nil
	}
	return f, f, nil
}

// run does the work and lands. A Getter that panics, or ends its goroutine, leaves nothing behind.
func (t *Table[T]) run(ctx context.Context, f *Flight[T], work func(context.Context, *Flight[T]) error) {
	var err error
	returned := false
	defer func() {
		if !returned {
			err = t.options.Panicked(f.Key, recover())
		}
		f.land(err)
	}()
	err = work(ctx, f)
	returned = true
}

// Fence makes all flights of a key ones whose result is not kept, and that are not joined any more.
func (t *Table[T]) Fence(key string) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.live[key]; f != nil {
		s.fenceLocked(f)
	}
	for f := range s.apart { // few, as a rule: those that were abandoned may have a value yet
		if f.Key == key {
			f.Fence.Store(true)
		}
	}
}

// FencePrefix is Fence for all keys that begin with a prefix.
func (t *Table[T]) FencePrefix(prefix string) {
	t.eachLocked(func(f *Flight[T]) {
		if strings.HasPrefix(f.Key, prefix) {
			f.shard.fenceLocked(f)
		}
	})
}

// eachLocked calls fn for all flights, with the lock of their shard.
func (t *Table[T]) eachLocked(fn func(*Flight[T])) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for f := range s.apart {
			fn(f)
		}
		for _, f := range s.live {
			fn(f)
		}
		s.mu.Unlock()
	}
}

// Waiting is how many wait for the flight of a key, if there is one that can be joined.
func (t *Table[T]) Waiting(key string) int {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.live[key]; f != nil {
		return f.waiting
	}
	return 0
}

// Active is how many flights there are, and when the oldest began.
func (t *Table[T]) Active() (n int64, oldest time.Time) {
	t.eachLocked(func(f *Flight[T]) {
		n++
		if oldest.IsZero() || f.Began.Before(oldest) {
			oldest = f.Began
		}
	})
	return n, oldest
}

// Close ends the contexts of all flights and refuses more. It may be called again.
func (t *Table[T]) Close() {
	for i := range t.shards {
		t.shards[i].refuse()
	}
	t.eachLocked(func(f *Flight[T]) { f.end() })
}

// Wait waits, after Close, until all flights have landed.
func (t *Table[T]) Wait() {
	for i := range t.shards {
		t.shards[i].wait()
	}
}
