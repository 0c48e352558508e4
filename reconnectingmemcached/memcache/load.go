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
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/loads"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

const (
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

// Load returns the value of key, or has fn load it: once for all callers of all processes that ask
// at the same time, by a lease in memcached. The others wait. A value older than ttl is still
// returned, for as long again, while one caller loads it anew in the background. Fn is not to keep
// its context, which ends when all callers have left, and may be called by several processes if the
// server is down, or the lease's holder has died, 5 s before. Its error is returned, and not kept;
// a panic is an error.
//
// A Set or Delete of the key, or a FlushAll, while it is loaded is not undone: what was loaded is
// returned but not stored, and a Load that begins after it, in any process, does not wait for that,
// but while the server is down after one of this process only. Ttl is at least a second. It is kept
// in the item's Flags. Other readers of the key may find an item with Flags 0x6c6f6164 while it is
// loaded. The errors are those of fn and ctx, [ErrMalformedKey], and one that wraps [ErrNoServers];
// a server that is down is none. For values that many want all the time, package autorefresh keeps
// them in memory, and refreshes them before they are old.
func (c *Client) Load(ctx context.Context, key string, ttl time.Duration, fn func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	if ttl < time.Second {
		return nil, fmt.Errorf("memcache: Load of %.100q: ttl is %v: use at least a second", key, ttl)
	}
	core, err := c.listed(ctx)
	if err != nil {
		return nil, err
	}
	l := &loader{client: core.client(), core: core, key: key, ttl: ttl, fn: fn}
	seen := loads.Asking{Began: core.Now()}
	it, err := c.GetContext(ctx, key)
	switch {
	case err == nil && isFresh(it, time.Now()):
		return it.Value, nil
	case err == nil && it.Flags != loads.LeaseFlags:
		l.reloadSoon(it) //nolint:contextcheck // it outlives the call.
		return bytes.Clone(it.Value), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrMalformedKey), errors.Is(err, ErrNoServers):
		return nil, err
	}
	if err == nil {
		seen.Token = string(it.Value)
	}
	return l.join(ctx, seen)
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
	return it.Flags != loads.LeaseFlags && (it.Flags < earliestDate || now.Unix() < int64(it.Flags))
}

// loader is what one Load needs.
type loader struct {
	client *Client
	core   *core
	key    string
	ttl    time.Duration
	fn     func(ctx context.Context) ([]byte, error)
	flight *loads.Flight // that it runs
}

// join waits for the load of this process, and begins it if there is none. The load outlives its
// caller while others wait.
//
//nolint:contextcheck // see above.
func (l *loader) join(ctx context.Context, seen loads.Asking) ([]byte, error) {
	f, mine := l.core.loads.Enter(l.key, seen)
	if mine {
		l.run(f, l.load)
	}
	select {
	case <-f.Done():
		return f.Result()
	case <-ctx.Done():
		l.core.loads.Leave(f)
		return nil, ctx.Err()
	}
}

// run does the work of a load.
func (l *loader) run(f *loads.Flight, work func(context.Context) ([]byte, error)) {
	l.flight = f
	l.core.loads.Run(l.core.Ctx, f, l.core.TrySpawn, work)
}

// hold takes note that the function is about to be called, with an item in the value's place.
func (l *loader) hold(token string) { l.core.loads.Hold(l.flight, l.core.Now(), token) }

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
		case err == nil && it.Flags != loads.LeaseFlags:
			return it.Value, nil
		case err == nil:
			refused = 0
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		token := strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // to tell leases apart.
		err = l.client.AddContext(ctx, &Item{Key: l.key, Value: []byte(token), Flags: loads.LeaseFlags, Expiration: leaseLife})
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
			_ = l.replaceLease(renewals, token, &Item{Key: l.key, Value: []byte(token), Flags: loads.LeaseFlags, Expiration: leaseLife})
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
	if err == nil && it.Flags == loads.LeaseFlags && string(it.Value) == token {
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
	if fresh == loads.LeaseFlags { // a second of 2027: the value is not to be taken for a lease
		fresh++
	}
	return &Item{Key: l.key, Value: value, Flags: uint32(fresh), Expiration: protocol.ExpirationIn(uint64(left)+1, now)} //nolint:gosec // bounded.
}

// call is the caller's code.
func (l *loader) call(ctx context.Context) ([]byte, error) {
	return observe.Sound(fmt.Sprintf("memcache: Load of %.100q: the function", l.key), func() ([]byte, error) { return l.fn(ctx) })
}

// reloadSoon loads a value that is old anew, unless somebody does so.
func (l *loader) reloadSoon(old *Item) {
	if f, mine := l.core.loads.Enter(l.key, loads.Asking{}); mine {
		l.run(f, func(ctx context.Context) ([]byte, error) { return l.reload(ctx, old) })
	} else {
		l.core.loads.Leave(f)
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

// reload replaces the old value if nobody has changed it meanwhile. A caller that finds it gone
// joins this load.
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
