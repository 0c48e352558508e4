// Package loader loads the values of a group in this process: from the caches of
// former owners of their keys, else by the Getter.
package loader

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/trace"
)

// borrowedTTL bounds how long this process keeps what it has loaded in the owner's place.
const borrowedTTL = time.Minute

var errNothingSet = errors.New("groupcache: the getter returned nil without setting a value: call one of the sink's Set methods")

// Options say how values are loaded, and for how long they are kept.
type Options struct {
	// Get has the Getter load a key.
	Get func(ctx context.Context, key string, into *outcome.Filling) error
	// Batch has it load several, if it can; nil if not.
	Batch *BatchGetter

	TTL         time.Duration // of values that have none of their own; 0 for none
	Jitter      float64       // the share of TTL that is left to chance
	NegativeTTL time.Duration // of "not found"; 0: it is not kept
	Timeout     time.Duration // of a call of the Getter; 0 for none
}

// A BatchGetter loads several keys with one call of a Getter.
type BatchGetter struct {
	// Most is how many keys it loads at most.
	Most int
	// Get loads keys. Dest is where the value of each goes.
	Get func(ctx context.Context, keys []string, dest func(key string) *outcome.Filling) error
	// Failed is why a key has no value after a Get that ended with err; nil if it has one.
	Failed func(key string, filling outcome.Filling, err error) error
}

// A Loader loads values of a group. Make it with New. It is safe for concurrent use.
type Loader struct {
	*Table // of loads under way

	group    *group.Group
	options  Options
	former   former
	meanSize atomic.Int64 // of values that were loaded, the latest count most
}

// New makes a Loader.
func New(g *group.Group, o Options) *Loader {
	l := &Loader{group: g, options: o, former: former{group: g}}
	l.Table = NewTable(g, o.Timeout, l.load, nil)
	return l
}

// Load loads a key, or waits for the load under way.
func (l *Loader) Load(ctx context.Context, key string) (outcome.Value, error) {
	return Brought(l.Do(ctx, key))
}

// Inherited is how many values were taken over from former owners.
func (l *Loader) Inherited() int64 { return l.former.found.Load() }

// Inherit counts values that were taken over from former owners by others.
func (l *Loader) Inherit(n int64) { l.former.found.Add(n) }

// load is what flights do.
func (l *Loader) load(ctx context.Context, f *Flight) (outcome.Value, error) {
	if v, ok := l.group.Tiers.Peek(f.Key); ok { // stored by a load that ended just before this one began
		return l.group.Result(v)
	}
	if v, ok := l.former.find(ctx, f.Key); ok {
		l.keep(v, f)
		return v, nil
	}
	l.group.Stats.LoadsDeduped.Add(1)
	ctx, cancel := l.limited(ctx)
	defer cancel()
	v, err := l.ask(ctx, f)
	l.group.Process.Loads.Observe(int64(time.Since(f.Began)))
	return l.settled(f, v, err)
}

// limited bounds a call of the Getter.
func (l *Loader) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.options.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, l.options.Timeout)
}

func (l *Loader) ask(ctx context.Context, f *Flight) (v outcome.Value, err error) {
	if l.group.Process.Tracer == nil {
		return l.askGetter(ctx, f)
	}
	ctx, span := l.group.Begin(ctx, trace.Internal, "load", f.Key)
	err = outcome.ErrGetterPanicked // if it does not return
	defer func() { span.End(l.group.Ended(ctx, trace.OK, err)) }()
	return l.askGetter(ctx, f)
}

func (l *Loader) askGetter(ctx context.Context, f *Flight) (outcome.Value, error) {
	if err := l.options.Get(ctx, f.Key, &f.Data.Filling); err != nil {
		return outcome.Value{}, err
	}
	if !f.Data.Filling.Set {
		return outcome.Value{}, errNothingSet
	}
	return f.Data.Filling.Value, nil
}

// settled counts and keeps what the Getter has said.
func (l *Loader) settled(f *Flight, v outcome.Value, err error) (outcome.Value, error) {
	if limit := l.group.Process.Limits().MaxValueSize; err == nil && int64(len(v.Bytes)) > limit {
		err = fmt.Errorf("%w: it has %d bytes of at most %d", outcome.ErrValueTooLarge, len(v.Bytes), limit)
	}
	if err != nil {
		l.group.Stats.LocalLoadErrs.Add(1)
		l.keepAbsence(f, err)
		return outcome.Value{}, err
	}
	l.group.Stats.LocalLoads.Add(1)
	l.group.Process.Sizes.Observe(int64(len(v.Bytes)))
	l.sawSize(len(v.Bytes))
	v.Expire = l.expiry(v.Expire)
	l.keep(v, f)
	return v, nil
}

// sawSize takes note of the size of a value that was loaded.
func (l *Loader) sawSize(size int) {
	mean := l.meanSize.Load()
	if mean == 0 {
		mean = int64(size)
	}
	l.meanSize.Store(max(mean+(int64(size)-mean)/8, 1))
}

// expiry is when a value that was loaded now expires.
func (l *Loader) expiry(own int64) int64 {
	ttl := l.options.TTL
	if own != 0 || ttl <= 0 {
		return own
	}
	if jitter := l.options.Jitter; jitter > 0 {
		ttl -= time.Duration(rand.Float64() * jitter * float64(ttl))
	}
	return l.group.Process.Now().Add(ttl).UnixNano()
}

// keep stores what was loaded, unless the key was set or removed meanwhile. What belongs to another
// owner is kept for a short time: its removal goes to the owner first, and to this process only
// while it is a peer.
func (l *Loader) keep(v outcome.Value, f *Flight) {
	item := store.Item{Key: f.Key, Value: v.Bytes, Expire: v.Expire, Fence: &f.Fence}
	if l.group.Owns(f.Key) {
		l.group.Tiers.Main.Put(item)
		return
	}
	soon := l.group.Process.Now().Add(borrowedTTL).UnixNano()
	if item.Expire == 0 || item.Expire > soon {
		item.Expire = soon
	}
	l.group.Tiers.KeepGuest(item)
}

// keepAbsence stores "not found", if the group wants that.
func (l *Loader) keepAbsence(f *Flight, err error) {
	ttl := l.options.NegativeTTL
	if ttl <= 0 || !l.group.Errors.IsNotFound(err) || !l.group.Owns(f.Key) {
		return
	}
	l.group.Tiers.Main.Put(store.Item{
		Key: f.Key, Value: err.Error(), Expire: l.group.Process.Now().Add(ttl).UnixNano(), Flags: tiers.Absent, Fence: &f.Fence,
	})
}
