// Package finder finds the values of keys that no cache of the process has: it loads its own keys,
// and fetches the others from their owners.
package finder

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdfast-go/holdfast/groupcache/internal/fetcher"
	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/handover"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/trace"
)

// A Finder finds values of a group. Make it with New. It is safe for concurrent use.
type Finder struct {
	group    *group.Group
	loader   *loader.Loader
	fetcher  *fetcher.Fetcher
	handover *handover.Handover
}

// New makes a Finder.
func New(g *group.Group, l *loader.Loader, f *fetcher.Fetcher, h *handover.Handover) *Finder {
	return &Finder{g, l, f, h}
}

// Find finds the value of a key.
func (f *Finder) Find(ctx context.Context, key string) (outcome.Value, error) {
	ctx = group.OrBackground(ctx)
	if err := ctx.Err(); err != nil {
		return outcome.Value{}, err
	}
	f.group.Route().Settle(ctx)
	f.group.Stats.Loads.Add(1)
	if f.group.Process.Tracer == nil {
		return loader.Brought(f.flightsFor(key).Do(ctx, key))
	}
	ctx, span := f.group.Begin(ctx, trace.Internal, "get", key)
	v, err := loader.Brought(f.flightsFor(key).Do(ctx, key))
	span.End(f.group.Ended(ctx, trace.OK, err))
	return v, err
}

// Revalidate loads an expired value again, for later callers.
func (f *Finder) Revalidate(key string) { f.flightsFor(key).Start(f.group.Process.Life, key) }

// flightsFor says whether a key is loaded here or fetched from a peer.
func (f *Finder) flightsFor(key string) *loader.Table {
	if f.group.Owns(key) {
		return f.loader.Table
	}
	return f.fetcher.Table
}

// FindSeveral finds the values of keys, all peers at once, and tells add of each, one after the
// other. The error joins those of keys that are there but were not found.
func (f *Finder) FindSeveral(ctx context.Context, keys []string, add func(key string, v outcome.Value)) error {
	if f.group.Process.Tracer == nil {
		_, err := f.gather(ctx, keys, add)
		return err
	}
	ctx, span := f.group.BeginSeveral(ctx, trace.Internal, "get_multi", len(keys))
	found, err := f.gather(ctx, keys, add)
	end := f.group.Ended(ctx, trace.OK, err)
	end.Items = found
	span.End(end)
	return err
}

// batchPeer is the owner of a key if it can be asked for several at once, else nil.
func (f *Finder) batchPeer(key string) *peer.Peer {
	if p := f.group.Route().Owner(key).Peer; p != nil && p.Batches() && p.Up() {
		return p
	}
	return nil
}

// gather is FindSeveral, and returns how many were found.
func (f *Finder) gather(ctx context.Context, keys []string, add func(string, outcome.Value)) (found int, err error) {
	missing := make(map[*peer.Peer][]string)
	for _, key := range keys {
		p := f.batchPeer(key)
		missing[p] = append(missing[p], key)
	}
	var mu sync.Mutex
	var errs []error
	take := func(key string, v outcome.Value, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			found++
			add(key, v)
		case f.group.Errors.IsNotFound(err):
		default:
			errs = append(errs, fmt.Errorf("groupcache: key %s: %w", observe.Quote(key), err))
		}
	}
	var all sync.WaitGroup
	for p, keys := range missing {
		all.Go(func() {
			ctx := ctx
			if p != nil {
				keys = f.fetcher.FetchSeveral(ctx, p, keys, take)
			} else {
				ctx = f.handover.Inherit(ctx, keys)
				var own []string
				if own, keys = f.loader.Apart(keys); len(own) > 0 {
					all.Go(func() { f.oneByOne(ctx, f.loader.LoadSeveral(ctx, own, take), take) })
				}
			}
			f.oneByOne(ctx, keys, take)
		})
	}
	all.Wait()
	return found, errors.Join(errs...)
}

// atOnce is how many keys of one question are loaded at once by this process, or fetched one by
// one.
const atOnce = 32

// oneByOne loads or fetches keys with a request for each.
func (f *Finder) oneByOne(ctx context.Context, keys []string, take func(string, outcome.Value, error)) {
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, key := range keys {
		slots <- struct{}{}
		if err := ctx.Err(); err != nil {
			<-slots
			take(key, outcome.Value{}, err)
			continue
		}
		all.Go(func() {
			defer func() { <-slots }()
			v, err := outcome.Value{}, outcome.ErrGetterPanicked // if the Getter ends this goroutine
			defer func() { take(key, v, err) }()
			v, err = f.Find(ctx, key)
		})
	}
	all.Wait()
}
