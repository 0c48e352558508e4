// Package loads keeps the loads that are under way in this process, one for each key, and says who
// may join one.
package loads

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
)

// LeaseFlags are those of the item that stands for a value which somebody loads.
const LeaseFlags = 0x6c6f6164

// Board has the loads by their keys. Its zero value has none. It is safe for concurrent use.
type Board struct {
	some    atomic.Int64 // len(flights), for writers that need no lock then
	mu      sync.Mutex
	flights map[string]*Flight // guarded by mu
}

// Flight is one load, for all callers that want the key.
type Flight struct {
	key     string
	cancel  context.CancelFunc // guarded by Board.mu
	callers int                // guarded by Board.mu
	done    chan struct{}
	value   []byte
	err     error
	held    int64  // since when its function loads and the item in the value's place is there, of the client's clock; 0: none is; guarded by Board.mu
	token   string // of that item; guarded by Board.mu
}

// Done is closed when the load has ended.
func (f *Flight) Done() <-chan struct{} { return f.done }

// Result returns a copy of the value, or the error, once the load has ended.
func (f *Flight) Result() ([]byte, error) { return bytes.Clone(f.value), f.err }

// Asking describes a caller.
type Asking struct {
	Began int64  // when it looked, of the client's clock
	Token string // of the lease that it found
}

// IsOutdated reports whether a write, of any process, came between the beginning of a load and a
// caller: the item that was in the value's place was there when the load began, at held, and the
// caller has not found it.
func IsOutdated(held int64, token string, by Asking) bool {
	return held != 0 && by.Began > held && by.Token != token
}

// Enter returns the load of a key, a new one if there is none that the caller may join: then the
// caller must run it.
func (b *Board) Enter(key string, by Asking) (f *Flight, mine bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f = b.flights[key]; f != nil && !IsOutdated(f.held, f.token, by) {
		f.callers++
		return f, false
	}
	if b.flights == nil {
		b.flights = make(map[string]*Flight)
	}
	f = &Flight{key: key, callers: 1, done: make(chan struct{})}
	b.flights[key] = f
	b.some.Store(int64(len(b.flights)))
	return f, true
}

// Run does the work of a load on a goroutine of its own, with a context that ends when all callers
// have left. Spawn is false if there is to be no more work.
func (b *Board) Run(ctx context.Context, f *Flight, spawn func(func()) bool, work func(context.Context) ([]byte, error)) {
	ctx, cancel := context.WithCancel(ctx)
	b.mu.Lock()
	f.cancel = cancel
	b.mu.Unlock()
	f.err = faults.ErrClosed // unless the work is done
	finish := func() {
		cancel()
		b.mu.Lock()
		b.removeLocked(f)
		b.mu.Unlock()
		close(f.done)
	}
	if !spawn(func() {
		defer finish()
		f.value, f.err = work(ctx)
	}) {
		finish()
	}
}

// Hold takes note that the function of a load is about to be called, with an item in the value's
// place.
func (b *Board) Hold(f *Flight, now int64, token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f.held, f.token = max(now, 1), token
}

// Leave ends a load without callers.
func (b *Board) Leave(f *Flight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.callers--; f.callers == 0 {
		f.cancel()
		b.removeLocked(f)
	}
}

// removeLocked has the next caller begin another one.
func (b *Board) removeLocked(f *Flight) {
	if b.flights[f.key] == f {
		delete(b.flights, f.key)
		b.some.Store(int64(len(b.flights)))
	}
}

// Forget has the next caller begin another load: the present one may return a value from before a
// write that has just been done.
func (b *Board) Forget(key string) {
	if b.some.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.flights[key]; f != nil {
		b.removeLocked(f)
	}
}

// ForgetAll is Forget of all keys.
func (b *Board) ForgetAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.flights)
	b.some.Store(0)
}
