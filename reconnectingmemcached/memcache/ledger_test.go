package memcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// ledger knows the writes of each key. A value names its key and its version; a read must
// not return another key's, nor a version older than that of the last write which had ended before
// it began, whether that succeeded or was lost on the way. Only what a server has refused to do
// leaves the old value.
type ledger struct {
	world *world
	began time.Time
	keys  []*account

	mu    sync.Mutex
	notes []string // guarded by mu
}

// account is that of one key. One caller writes at a time.
type account struct {
	key   string
	write chan struct{} // capacity 1: a mutex would stop the clock

	mu    sync.Mutex
	last  int      // version of the last write that began; guarded by mu
	floor int      // of the last that ended; guarded by mu
	notes []string // guarded by mu
}

func newLedger(w *world) *ledger {
	l := &ledger{world: w, began: time.Now()}
	for i := range 24 {
		l.keys = append(l.keys, &account{key: keyOf(i%3, i), write: make(chan struct{}, 1)})
	}
	return l
}

func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, fmt.Sprintf("%v: "+format, append([]any{time.Since(l.began)}, args...)...))
}

func (l *ledger) stamp(a *account, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notes = append(a.notes, fmt.Sprintf("%v: "+format, append([]any{time.Since(l.began)}, args...)...))
}

// accuse fails the test, with what has happened to the key of late.
func (l *ledger) accuse(a *account, format string, args ...any) {
	a.mu.Lock()
	notes := strings.Join(a.notes[max(0, len(a.notes)-12):], "\n\t")
	a.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.world.t.Errorf("history %d: at %v: %s\n\t%s\nfaults:\n\t%s", l.world.seed, time.Since(l.began), fmt.Sprintf(format, args...), notes,
		strings.Join(l.notes[max(0, len(l.notes)-16):], "\n\t"))
}

func (a *account) floorNow() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.floor
}

// value is that of a version.
func (a *account) value(version, padding int) []byte {
	return append(fmt.Appendf(nil, "%s=%d;", a.key, version), bytes.Repeat([]byte("x"), padding)...)
}

// judge checks what a read has returned that began when the floor was such.
func (l *ledger) judge(a *account, it *memcache.Item, floor int, how string) (version int) {
	head, padding, _ := bytes.Cut(it.Value, []byte(";"))
	key, number, _ := strings.Cut(string(head), "=")
	if _, err := fmt.Sscanf(number, "%d", &version); err != nil || key != a.key || it.Key != a.key || !bytes.Equal(it.Value, a.value(version, len(padding))) {
		l.accuse(a, "%s of %q returned an item of key %q with the value %.60q", how, a.key, it.Key, it.Value)
		return 0
	}
	if version < floor {
		l.accuse(a, "%s of %q returned version %d, but version %d had been written", how, a.key, version, floor)
	}
	return version
}

// readAll reads every key once more.
func (l *ledger) readAll() {
	for _, a := range l.keys {
		if it, err := l.world.client.Get(a.key); err == nil {
			l.judge(a, it, a.floorNow(), "Get at the end")
		}
	}
}

// lookTime is how long an idle connection in memory is read from, to see whether it is quiet.
const lookTime = 500 * time.Microsecond

// wander makes one call after another.
func (w *world) wander(random *rand.Rand) {
	for {
		most := 12 * time.Millisecond
		if random.IntN(20) == 0 {
			most = 100 * time.Millisecond
		}
		if !w.pause(random, most) {
			return
		}
		w.total.steps.Add(1)
		ctx, cancel, limit := context.Background(), context.CancelFunc(func() {}), exploreTimeout
		if random.IntN(5) == 0 {
			limit = time.Duration(1+random.IntN(150)) * time.Millisecond
			ctx, cancel = context.WithTimeout(ctx, limit)
		}
		a := w.ledger.keys[random.IntN(len(w.ledger.keys))]
		what, took := w.call(ctx, a, random)
		cancel()
		if took > limit+2*lookTime { // a large Set, and that of its copy, may find their idle connections not to be quiet
			w.ledger.accuse(a, "%s of %q took %v, want at most %v", what, a.key, took, limit)
		}
	}
}

// call makes one call.
func (w *world) call(ctx context.Context, a *account, random *rand.Rand) (what string, took time.Duration) {
	switch kind := random.IntN(100); {
	case kind < 50:
		return w.read(ctx, a, "Get", func() (*memcache.Item, error) { return w.client.GetContext(ctx, a.key) })
	case kind < 55:
		return w.read(ctx, a, "GetAndTouch", func() (*memcache.Item, error) { return w.client.GetAndTouchContext(ctx, a.key, 1000) })
	case kind < 65:
		return w.readMany(ctx, random)
	case kind < 70:
		return w.change(ctx, a, "large Set", func(version int) error {
			return w.client.SetContext(ctx, &memcache.Item{Key: a.key, Value: a.value(version, memcache.LargeValue)})
		})
	case kind < 80:
		return w.change(ctx, a, "Delete", func(int) error {
			err := w.client.DeleteContext(ctx, a.key)
			if errors.Is(err, memcache.ErrCacheMiss) {
				return nil
			}
			return err
		})
	case kind < 84:
		it, err := w.client.GetContext(ctx, a.key)
		if err != nil {
			return "Get", 0
		}
		return w.change(ctx, a, "CompareAndSwap", func(version int) error {
			it.Value = a.value(version, 0)
			return w.client.CompareAndSwapContext(ctx, it)
		})
	default:
		return w.change(ctx, a, "Set", func(version int) error {
			return w.client.SetContext(ctx, &memcache.Item{Key: a.key, Value: a.value(version, random.IntN(100))})
		})
	}
}

func (w *world) read(_ context.Context, a *account, what string, get func() (*memcache.Item, error)) (string, time.Duration) {
	floor, start := a.floorNow(), time.Now()
	it, err := get()
	took := time.Since(start)
	if err != nil {
		w.total.misses.Add(1)
		return what, took
	}
	w.total.hits.Add(1)
	w.ledger.judge(a, it, floor, what)
	return what, took
}

func (w *world) readMany(ctx context.Context, random *rand.Rand) (string, time.Duration) {
	var keys []string
	floors := make(map[*account]int)
	for range 1 + random.IntN(12) {
		a := w.ledger.keys[random.IntN(len(w.ledger.keys))]
		keys = append(keys, a.key)
		floors[a] = a.floorNow()
	}
	start := time.Now()
	items, _ := w.client.GetMultiContext(ctx, keys)
	took := time.Since(start)
	for a, floor := range floors {
		if it := items[a.key]; it != nil {
			w.total.hits.Add(1)
			w.ledger.judge(a, it, floor, "GetMulti")
			delete(items, a.key)
		}
	}
	for key := range items {
		w.ledger.accuse(w.ledger.keys[0], "GetMulti of %q returned %q", keys, key)
	}
	return "GetMulti", took
}

// change writes the next version.
func (w *world) change(ctx context.Context, a *account, what string, write func(version int) error) (string, time.Duration) {
	select {
	case a.write <- struct{}{}:
		defer func() { <-a.write }()
	case <-ctx.Done():
		return what, 0
	}
	a.mu.Lock()
	a.last++
	version := a.last
	a.mu.Unlock()
	start := time.Now()
	err := write(version)
	took := time.Since(start)
	w.ledger.stamp(a, "%s of version %d, begun %v ago: %v", what, version, took, err)
	if err == nil {
		w.total.written.Add(1)
	} else {
		w.total.unwritten.Add(1)
	}
	if err == nil || errors.Is(err, memcache.ErrServerDown) || errors.Is(err, context.DeadlineExceeded) {
		a.mu.Lock()
		a.floor = version
		a.mu.Unlock()
	}
	return what, took
}

// dialAny dials the site of an address.
func dialAny(sites map[string]*distance) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return sites[addr].dial(ctx, network, addr)
	}
}
