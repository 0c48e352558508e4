package groupcache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

// borrowedTTL bounds how long this process keeps what it has loaded in the owner's place.
const borrowedTTL = time.Minute

var errNothingSet = errors.New("groupcache: the getter returned nil without setting a value: call one of the sink's Set methods")

// loading is one load of the group, or one fetch.
type loading = flight.Flight[loaded]

// loaded is what it brings.
type loaded struct {
	sink loadSink // that the Getter fills
	view ByteView
}

// newFlights makes a table of flights that do work.
func (g *Group) newFlights(
	work func(ctx context.Context, f *loading) (ByteView, error), begin func(ctx context.Context, f *loading) flight.Begun,
) *flight.Table[loaded] {
	return flight.New(flight.Options[loaded]{
		Begin: begin,
		Work: func(ctx context.Context, f *loading) (err error) {
			f.Data.view, err = work(ctx, f)
			return err
		},
		Panicked: g.instance.getterPanicked,
		Life:     g.instance.life,
		Limit:    g.config.loadTimeout,
		Closed:   ErrClosed,
	})
}

// brought is what a flight has brought that the caller has waited for.
func brought(f *loading, err error) (ByteView, error) {
	if err != nil {
		return ByteView{}, err
	}
	return f.Data.view, nil
}

// load is what the flights of loads do: ask the Getter.
func (g *Group) load(ctx context.Context, f *loading) (ByteView, error) {
	key := f.Key
	if v, ok := g.peek(key); ok { // stored by a load that ended just before this one began
		return result(v)
	}
	if v, ok := g.inherit(ctx, key); ok {
		g.keep(v, f)
		return v, nil
	}
	g.Stats.LoadsDeduped.Add(1)
	if g.config.loadTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.config.loadTimeout)
		defer cancel()
	}
	v, err := g.ask(ctx, f)
	g.instance.histograms.loads.Observe(int64(time.Since(f.Began)))
	return g.settled(f, v, err)
}

// settled counts and keeps what the Getter has said.
func (g *Group) settled(f *loading, v ByteView, err error) (ByteView, error) {
	if limit := g.instance.maxValueSize(); err == nil && int64(v.Len()) > limit {
		err = fmt.Errorf("%w: it has %d bytes of at most %d", ErrValueTooLarge, v.Len(), limit)
	}
	if err != nil {
		g.Stats.LocalLoadErrs.Add(1)
		g.keepAbsence(f, err)
		return ByteView{}, err
	}
	g.Stats.LocalLoads.Add(1)
	g.instance.histograms.sizes.Observe(int64(v.Len()))
	g.sawSize(v.Len())
	v.expire = g.expiry(v.expire)
	g.keep(v, f)
	return v, nil
}

// peek looks into the caches without counting.
func (g *Group) peek(key string) (store.View, bool) {
	v, ok := g.main.Peek(key)
	if !ok {
		v, ok = g.hot.Peek(key)
	}
	return v, ok && !v.Stale
}

func (g *Group) ask(ctx context.Context, f *loading) (ByteView, error) {
	if g.instance.tracer != nil {
		return g.askTraced(ctx, f)
	}
	return g.askGetter(ctx, f)
}

func (g *Group) askGetter(ctx context.Context, f *loading) (ByteView, error) {
	if err := g.getter.Get(ctx, f.Key, &f.Data.sink); err != nil {
		return ByteView{}, err
	}
	if !f.Data.sink.set {
		return ByteView{}, errNothingSet
	}
	return f.Data.sink.view, nil
}

// keep stores what the Getter has said, unless the key was set or removed meanwhile. What belongs
// to another owner is kept for a short time: its removal goes to the owner first, and to this
// process only while it is a peer.
func (g *Group) keep(v ByteView, f *loading) {
	item := store.Item{Key: f.Key, Value: v.s, Expire: v.expire, Fence: &f.Fence}
	if g.owns(f.Key) {
		g.main.Add(item)
		return
	}
	soon := g.instance.now().Add(borrowedTTL).UnixNano()
	if item.Expire == 0 || item.Expire > soon {
		item.Expire = soon
	}
	g.keepGuest(item)
}

// keepAbsence stores "not found", if the group wants that.
func (g *Group) keepAbsence(f *loading, err error) {
	key := f.Key
	if g.config.negativeTTL <= 0 || !errors.Is(err, &ErrNotFound{}) || !g.owns(key) {
		return
	}
	g.main.Add(store.Item{
		Key: key, Value: err.Error(), Expire: g.instance.now().Add(g.config.negativeTTL).UnixNano(), Flags: flagAbsent, Fence: &f.Fence,
	})
}

// serve answers a peer: from the caches, else by the Getter, but never by another peer. It calls
// loading, if it must load. ErrClosed says that Close has ended the load: that is no answer of the
// Getter.
func (g *Group) serve(ctx context.Context, key string, loading func()) (ByteView, error) {
	v, hit, err := g.serveFromCache(key)
	if hit {
		return v, err
	}
	loading()
	if v, err = g.serveByLoad(ctx, key); err != nil && g.instance.isClosed() {
		return ByteView{}, ErrClosed
	}
	return v, err
}

// answer is serve for a request that came from a peer.
func (g *Group) answer(ctx context.Context, key string, loading func()) (ByteView, error) {
	g.Stats.ServerRequests.Add(1)
	if g.instance.tracer != nil {
		return g.serveTraced(ctx, key, loading)
	}
	return g.serve(ctx, key, loading)
}

func (g *Group) serveFromCache(key string) (v ByteView, hit bool, err error) {
	found, ok := g.find(key)
	if !ok {
		return ByteView{}, false, nil
	}
	if found.Stale && g.owns(key) { // what others own their peers' Gets must not fetch
		g.revalidate(key)
	}
	v, err = result(found)
	return v, true, err
}

func (g *Group) serveByLoad(ctx context.Context, key string) (ByteView, error) {
	g.Stats.Loads.Add(1)
	return brought(g.loads.Do(ctx, key))
}

// remoteError is the error of the Getter at a peer.
func remoteError(group, key string, a peer.Answer) error {
	var err error = &ErrRemoteCall{Msg: a.Message}
	if a.Outcome == peer.NotFound {
		err = &ErrNotFound{Msg: a.Message}
	}
	return RemoteLoadError{Group: group, Key: key, StatusCode: a.Code, Status: a.Status, Body: []byte(a.Message), Err: err}
}
