package memcache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

const (
	// leaseFlags are those of the item that stands for a value which somebody loads.
	leaseFlags = 0x6c6f6164
	// leaseLife is how long it lives after its holder has died, in seconds, and leaseRenewal how
	// often a living one prolongs it.
	leaseLife    = 5
	leaseRenewal = 1500 * time.Millisecond
	// leasePrefix is before the key of a value that is loaded anew while the old one is there.
	leasePrefix = "holdfast:load:"
	// oldValue stands for the token where an old value is in the value's place, and no lease.
	oldValue = "-"
	// reloadPause is how long a process leaves a value alone that another loads anew.
	reloadPause = 200 * time.Millisecond
	// earliestDate tells flags that are a time, in seconds since 1970, from those of others.
	earliestDate = 900_000_000
	// hiddenLeases is how many leases in a row are refused for an item that is not found: it cannot
	// be read, or not yet.
	hiddenLeases = 5
)

// loads are the keys that this process loads.
type loads struct {
	some    atomic.Int64 // len(flights), for writers that need no lock then
	mu      sync.Mutex
	flights map[string]*loading // guarded by mu
}

// loading is one load, for all callers that want the key.
type loading struct {
	key     string
	cancel  context.CancelFunc
	callers int // guarded by loads.mu
	done    chan struct{}
	value   []byte
	err     error
	held    int64  // since when its function loads and the item in the value's place is there, of the client's clock; 0: none is; guarded by loads.mu
	token   string // of that item; guarded by loads.mu
}

// asking describes a caller of Load.
type asking struct {
	began int64  // when it looked, of the client's clock
	token string // of the lease that it found
}

// outdatedLocked reports whether a write, of any process, came between the beginning of the load
// and a caller: the item that was in the value's place was there when the load began, and the
// caller has not found it.
func (f *loading) outdatedLocked(by asking) bool {
	return f.held != 0 && by.began > f.held && by.token != f.token
}

// client is one that ends with the core: one that is used after its Close starts another core.
func (c *core) client() *Client {
	s := &shared{}
	s.core.Store(c)
	return &Client{shared: s, loads: true}
}

// isFresh judges by the time that Load keeps in the flags. What others have stored is fresh as long
// as it is there.
func isFresh(it *Item, now time.Time) bool {
	return it.Flags != leaseFlags && (it.Flags < earliestDate || now.Unix() < int64(it.Flags))
}

// loader is what one Load needs.
type loader struct {
	client *Client
	core   *core
	key    string
	ttl    time.Duration
	fn     func(ctx context.Context) ([]byte, error)
	flight *loading // that it runs
}

// join waits for the load of this process, and begins it if there is none. The load outlives its
// caller while others wait.
//
//nolint:contextcheck // see above.
func (l *loader) join(ctx context.Context, seen asking) ([]byte, error) {
	f, mine := l.core.loads.enter(l.key, seen)
	if mine {
		l.run(f, l.load)
	}
	select {
	case <-f.done:
		return bytes.Clone(f.value), f.err
	case <-ctx.Done():
		l.core.loads.leave(f)
		return nil, ctx.Err()
	}
}

// enter returns the load of a key, a new one if there is none that the caller may join: then the
// caller must run it.
func (s *loads) enter(key string, seen asking) (f *loading, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f = s.flights[key]; f != nil && !f.outdatedLocked(seen) {
		f.callers++
		return f, false
	}
	if s.flights == nil {
		s.flights = make(map[string]*loading)
	}
	f = &loading{key: key, callers: 1, done: make(chan struct{})}
	s.flights[key] = f
	s.some.Store(int64(len(s.flights)))
	return f, true
}

// leave ends a load without callers.
func (s *loads) leave(f *loading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.callers--; f.callers == 0 {
		f.cancel()
		s.removeLocked(f)
	}
}

// removeLocked has the next caller begin another one.
func (s *loads) removeLocked(f *loading) {
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
		s.some.Store(int64(len(s.flights)))
	}
}

// forget has the next caller begin another load: the present one may return a value from before a
// write that has just been done.
func (s *loads) forget(key string) {
	if s.some.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[key]; f != nil {
		s.removeLocked(f)
	}
}

// forgetAll is forget of all keys.
func (s *loads) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.flights)
	s.some.Store(0)
}

// hold takes note that the function is about to be called, with an item in the value's place.
func (l *loader) hold(token string) {
	l.core.loads.mu.Lock()
	defer l.core.loads.mu.Unlock()
	l.flight.held, l.flight.token = max(l.core.Now(), 1), token
}

// run does the work of a load on a goroutine of its own.
func (l *loader) run(f *loading, work func(context.Context) ([]byte, error)) {
	ctx, cancel := context.WithCancel(l.core.Ctx)
	s := &l.core.loads
	s.mu.Lock()
	f.cancel, l.flight = cancel, f
	s.mu.Unlock()
	f.err = faults.ErrClosed // unless the work is done
	finish := func() {
		cancel()
		s.mu.Lock()
		s.removeLocked(f)
		s.mu.Unlock()
		close(f.done)
	}
	if !l.core.TrySpawn(func() {
		defer finish()
		f.value, f.err = work(ctx)
	}) {
		finish()
	}
}

// load finds the value, or takes the lease and loads it.
func (l *loader) load(ctx context.Context) ([]byte, error) {
	pause := backoff.Exponential{Base: 5 * time.Millisecond, Factor: 1.5, Cap: 100 * time.Millisecond}
	refused := 0
	for attempt := 0; ; attempt++ {
		if attempt > 0 && !backoff.Pause(ctx, pause.Delay(attempt-1)) {
			return nil, ctx.Err()
		}
		it, err := l.client.GetContext(ctx, l.key)
		switch {
		case err == nil && it.Flags != leaseFlags:
			return it.Value, nil
		case err == nil:
			refused = 0
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		token := strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // to tell leases apart.
		err = l.client.AddContext(ctx, &Item{Key: l.key, Value: []byte(token), Flags: leaseFlags, Expiration: leaseLife})
		switch {
		case err == nil:
			return l.loadWith(ctx, token)
		case !errors.Is(err, ErrNotStored):
			return l.loadWithout(ctx)
		}
		if refused++; refused == hiddenLeases {
			return l.loadWithout(ctx)
		}
	}
}

// loadWith loads while it holds the lease, and replaces that. If it is gone, the key was written
// meanwhile.
func (l *loader) loadWith(ctx context.Context, token string) ([]byte, error) {
	renewals, stop := context.WithCancel(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for backoff.Pause(renewals, leaseRenewal) {
			_ = l.replaceLease(renewals, token, &Item{Key: l.key, Value: []byte(token), Flags: leaseFlags, Expiration: leaseLife})
		}
	})
	l.hold(token)
	value, err := l.call(ctx)
	stop()
	renewing.Wait()
	final := l.valueItem(value)
	if err != nil {
		final = &Item{Key: l.key, Expiration: -1}
	}
	last := context.WithoutCancel(ctx)
	if errors.Is(l.replaceLease(last, token, final), ErrServerError) { // the value is too large, say
		_ = l.replaceLease(last, token, &Item{Key: l.key, Expiration: -1})
	}
	return value, err
}

func (l *loader) replaceLease(ctx context.Context, token string, next *Item) error {
	it, err := l.client.GetContext(ctx, l.key)
	if err == nil && it.Flags == leaseFlags && string(it.Value) == token {
		return l.replace(ctx, next, it.CasID)
	}
	return nil
}

// loadWithout loads without a lease, while the server is down or the item cannot be read. Gutter
// may keep the value if the server is down still: once it is up, others may have stored a later one
// there.
func (l *loader) loadWithout(ctx context.Context) ([]byte, error) {
	value, err := l.call(ctx)
	if err != nil || l.core.gutter == nil {
		return value, err
	}
	if s, unknown := l.core.picker.Pick(l.key); unknown == nil && s.IsDown() {
		_ = l.client.SetContext(ctx, l.valueItem(value))
	}
	return value, nil
}

// valueItem is the item to store: it is fresh for ttl, and then there for as long again.
func (l *loader) valueItem(value []byte) *Item {
	now, left := time.Now(), (2*l.ttl+time.Second-1)/time.Second
	fresh := min(now.Add(l.ttl).Unix(), 1<<32-1)
	if fresh == leaseFlags { // a second of 2027: the value is not to be taken for a lease
		fresh++
	}
	return &Item{Key: l.key, Value: value, Flags: uint32(fresh), Expiration: protocol.ExpirationIn(uint64(left)+1, now)} //nolint:gosec // bounded.
}

// call is the caller's code.
func (l *loader) call(ctx context.Context) (value []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, fmt.Errorf("memcache: Load of %.100q: the function panicked: %v", l.key, p)
		}
	}()
	return l.fn(ctx)
}

// reloadSoon loads a value that is old anew, unless somebody does so.
func (l *loader) reloadSoon(old *Item) {
	if f, mine := l.core.loads.enter(l.key, asking{}); mine {
		l.run(f, func(ctx context.Context) ([]byte, error) { return l.reload(ctx, old) })
	} else {
		l.core.loads.leave(f)
	}
}

// reloadLease is the key of the lease of a value that is there. That of a long key is its hash.
func reloadLease(key string) string {
	if len(leasePrefix)+len(key) <= protocol.MaxKeyLength {
		return leasePrefix + key
	}
	sum := sha256.Sum256([]byte(key))
	return leasePrefix + hex.EncodeToString(sum[:])
}

// reload replaces the old value if nobody has changed it meanwhile. Whoever finds it gone joins
// this load.
func (l *loader) reload(ctx context.Context, old *Item) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	lease := &Item{Key: reloadLease(l.key), Value: []byte("1"), Expiration: int32(max(leaseLife, min(l.ttl/time.Second, 60)))} //nolint:gosec // bounded.
	if err := l.client.AddContext(ctx, lease); errors.Is(err, ErrNotStored) {
		backoff.Pause(ctx, reloadPause)
		return l.load(ctx) // the present value, new or old
	}
	began := time.Now()
	defer func() {
		if time.Since(began) < time.Duration(lease.Expiration-1)*time.Second {
			_ = l.client.DeleteContext(context.WithoutCancel(ctx), lease.Key)
		}
	}()
	if it, err := l.client.GetContext(ctx, l.key); err == nil {
		if isFresh(it, time.Now()) { // by the lease's last holder
			return it.Value, nil
		}
		old = it
	}
	l.hold(oldValue)
	value, err := l.call(ctx)
	if err != nil {
		backoff.Pause(ctx, reloadPause)
		return nil, err
	}
	_ = l.replace(ctx, l.valueItem(value), old.CasID)
	return value, nil
}

// replace stores an item if the key has the CasID still. Without CasIDs it cannot be told.
func (l *loader) replace(ctx context.Context, next *Item, cas uint64) error {
	if l.core.options.PlainGet {
		return l.client.SetContext(ctx, next)
	}
	next.CasID = cas
	return l.client.CompareAndSwapContext(ctx, next)
}
