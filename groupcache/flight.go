package groupcache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// flights are the loads of one kind that are under way in a group, at most one for each key that can be joined. A load belongs to all who wait for
// it. When the last of them has left it goes on for a while, as its value is wanted: the next caller joins it, and what no write has fenced is kept.
type flights struct {
	instance *Instance
	limit    time.Duration // of a load, 0 for none
	load     func(ctx context.Context, key string, f *flight) (ByteView, error)
	seed     maphash.Seed
	shards   [flightShards]flightShard
}

const flightShards = 64

type flightShard struct {
	mu     sync.Mutex
	live   map[string]*flight   // those that can be joined; guarded by mu
	apart  map[*flight]struct{} // those that cannot, because their key was set or removed, or they were cancelled; guarded by mu
	closed bool                 // guarded by mu
	_      [32]byte             // a cache line for each
}

// flight is one load.
type flight struct {
	key    string
	shard  *flightShard
	fence  atomic.Bool // the result must not be kept
	sink   loadSink
	began  time.Time
	cancel context.CancelFunc
	limit  time.Duration // 0 for none

	waiting int           // guarded by shard.mu
	idle    *time.Timer   // cancels it when nobody has waited for a while; nil if it never had to; guarded by shard.mu
	done    chan struct{} // made when somebody waits; guarded by shard.mu
	ended   bool          // guarded by shard.mu

	// Written before ended.
	view ByteView
	err  error
}

func newFlights(i *Instance, limit time.Duration, load func(context.Context, string, *flight) (ByteView, error)) *flights {
	f := &flights{instance: i, limit: limit, load: load, seed: maphash.MakeSeed()}
	for i := range f.shards {
		f.shards[i].live = make(map[string]*flight)
		f.shards[i].apart = make(map[*flight]struct{})
	}
	return f
}

func (fs *flights) shard(key string) *flightShard {
	return &fs.shards[maphash.String(fs.seed, key)%flightShards]
}

// do loads a key, or waits for the load under way.
func (fs *flights) do(ctx context.Context, key string) (ByteView, error) {
	f, ctxOfLoad, err := fs.join(ctx, key)
	switch {
	case err != nil:
		return ByteView{}, err
	case ctxOfLoad == nil:
		v, err := f.wait(ctx)
		if errors.Is(err, errAskElsewhere) { // it was one of several that were asked for together
			return fs.do(ctx, key)
		}
		return v, err
	case ctx.Done() == nil: // this caller cannot leave: it may as well do the work
		fs.run(ctxOfLoad, f)
		return f.view, f.err
	}
	fs.runInBackground(ctxOfLoad, f)
	return f.wait(ctx)
}

func (fs *flights) runInBackground(ctx context.Context, f *flight) {
	if !fs.instance.spawn(func() { fs.run(ctx, f) }) {
		f.err = ErrClosed
		f.land()
	}
}

// start loads a key in the background, unless it is being loaded.
func (fs *flights) start(ctx context.Context, key string) {
	f, ctxOfLoad, err := fs.join(ctx, key)
	if err == nil && ctxOfLoad != nil {
		fs.runInBackground(ctxOfLoad, f)
	} else if err == nil {
		f.leave()
	}
}

// join returns the key's load under way, or a new one with its context, which the caller must run. The context has the values of the
// caller's, not its end.
func (fs *flights) join(ctx context.Context, key string) (f *flight, ctxOfLoad context.Context, err error) {
	s := fs.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	if f := s.live[key]; f != nil {
		f.waiting++
		f.awaitLocked()
		return f, nil, nil
	}
	f = &flight{key: key, shard: s, began: time.Now(), limit: fs.limit, waiting: 1}
	ctxOfLoad, f.cancel = fs.contextFor(ctx)
	if ctx.Done() != nil {
		f.awaitLocked()
	}
	s.live[key] = f
	return f, ctxOfLoad, nil
}

// contextFor makes the context of a load, and what cancels it. That of a caller who cannot leave, and brings no values, is ended by Close
// alone.
func (fs *flights) contextFor(ctx context.Context) (context.Context, context.CancelFunc) {
	switch {
	case ctx == context.Background(), ctx == fs.instance.life:
		return fs.instance.life, nobodyLeaves
	case ctx.Done() != nil:
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithCancel(ctx)
}

func nobodyLeaves() {}

// await lets the caller wait, which join has let only those who can leave.
func (f *flight) await() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	f.awaitLocked()
}

func (f *flight) awaitLocked() {
	if f.done == nil {
		f.done = make(chan struct{})
	}
}

// wait waits for the result, or leaves when the context ends.
func (f *flight) wait(ctx context.Context) (ByteView, error) {
	select {
	case <-f.done:
		return f.view, f.err
	case <-ctx.Done():
		f.leave()
		return ByteView{}, ctx.Err()
	}
}

// leastIdle is how long a load goes on at least when nobody waits for it.
const leastIdle = time.Second

// leave gives the result up. With nobody left the load goes on for as long again as it has taken so far, and for a second at least; or until its
// limit, if it has one. Then it is cancelled, unless somebody has joined it.
func (f *flight) leave() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	f.waiting--
	if f.waiting > 0 || f.ended {
		return
	}
	taken := time.Since(f.began)
	patience := max(taken, leastIdle)
	if f.limit > 0 {
		patience = f.limit - taken
	}
	if f.idle == nil {
		f.idle = time.AfterFunc(patience, f.abandon)
		return
	}
	f.idle.Reset(patience)
}

// abandon cancels a load that nobody waits for. It cannot be joined any more; if it has a value all the same, that is kept.
func (f *flight) abandon() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.waiting > 0 || f.ended {
		return
	}
	f.cancel()
	f.shard.partLocked(f)
}

// fenceLocked makes a load one that is not joined any more, and whose result is not kept.
func (s *flightShard) fenceLocked(f *flight) {
	f.fence.Store(true)
	s.partLocked(f)
}

// partLocked makes a load one that is not joined any more.
func (s *flightShard) partLocked(f *flight) {
	if s.live[f.key] == f {
		delete(s.live, f.key)
		s.apart[f] = struct{}{}
	}
}

// run does the work and tells the result. A Getter that panics, or ends its goroutine, leaves nothing behind.
func (fs *flights) run(ctx context.Context, f *flight) {
	returned := false
	defer func() {
		if !returned {
			f.err = fs.panicked(f.key, recover())
		}
		f.cancel()
		f.land()
	}()
	f.view, f.err = fs.load(ctx, f.key, f)
	returned = true
}

func (fs *flights) panicked(key string, cause any) error {
	if cause == nil {
		return fmt.Errorf("%w: it ended its goroutine", ErrGetterPanicked)
	}
	fs.instance.log.Error("groupcache: a getter panicked", "key", observe.Cut(key), "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %v", ErrGetterPanicked, cause)
}

// land makes the result known.
func (f *flight) land() {
	s := f.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[f.key] == f {
		delete(s.live, f.key)
	} else {
		delete(s.apart, f)
	}
	f.ended = true
	if f.idle != nil {
		f.idle.Stop()
	}
	if f.done != nil {
		close(f.done)
	}
}

// fence makes all loads of a key under way ones whose result is not kept, and that are not joined any more.
func (fs *flights) fence(key string) {
	s := fs.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.live[key]; f != nil {
		s.fenceLocked(f)
	}
	for f := range s.apart { // few, as a rule: those that were cancelled may have a value yet
		if f.key == key {
			f.fence.Store(true)
		}
	}
}

// fencePrefix is fence for all keys that begin with a prefix.
func (fs *flights) fencePrefix(prefix string) {
	fs.each(func(f *flight) {
		if strings.HasPrefix(f.key, prefix) {
			f.shard.fenceLocked(f)
		}
	})
}

// each calls fn for all loads under way, with the lock of their shard.
func (fs *flights) each(fn func(*flight)) {
	for i := range fs.shards {
		s := &fs.shards[i]
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

// close cancels all loads under way and refuses more.
func (fs *flights) close() {
	for i := range fs.shards {
		s := &fs.shards[i]
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	}
	fs.each(func(f *flight) { f.cancel() })
}

// active is how many loads are under way, and when the oldest began.
func (fs *flights) active() (n int64, oldest time.Time) {
	fs.each(func(f *flight) {
		n++
		if oldest.IsZero() || f.began.Before(oldest) {
			oldest = f.began
		}
	})
	return n, oldest
}
