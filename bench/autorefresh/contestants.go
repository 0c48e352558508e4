package main

import (
	"context"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// loader gets the value of a key, by its number.
type loader func(ctx context.Context, key int) (int64, error)

// contestant is a cache that refreshes what it has once a period.
type contestant interface {
	name() string
	// read returns a value, and loads it if it is missing.
	read(ctx context.Context, key int) (int64, bool)
	// has reports whether a value is in memory.
	has(key int) bool
	close() error
}

// setting is what all contestants are given alike.
type setting struct {
	items   int
	period  time.Duration
	workers int // as far as they can be chosen
	load    loader
}

func (s setting) keys() []string {
	keys := make([]string, s.items)
	for i := range keys {
		keys[i] = keyOf(i)
	}
	return keys
}

// makers make the contestants that refresh, with keys from 0 to items-1 stored as if they had just
// been got.
func makers() []func(s setting) (contestant, error) {
	return []func(s setting) (contestant, error){newHoldfast, newOtter, newSturdyc}
}

func keyOf(i int) string { return fmt.Sprintf("key-%08d", i) }

// numberOf is the number of a key that keyOf has made.
func numberOf(key string) int {
	n := 0
	for _, c := range key[len("key-"):] {
		n = 10*n + int(c-'0')
	}
	return n
}

type holdfast struct {
	keys  []string
	cache *autorefresh.Cache[string, int64]
}

func newHoldfast(s setting) (contestant, error) {
	refresh := func(ctx context.Context, key string, _ int64) (int64, error) { return s.load(ctx, numberOf(key)) }
	c, err := autorefresh.New(refresh, autorefresh.Options[string, int64]{Period: s.period, Workers: s.workers})
	if err != nil {
		return nil, err
	}
	h := &holdfast{s.keys(), c}
	for _, key := range h.keys {
		if _, _, err := c.GetOrCreate(key, 0); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (*holdfast) name() string { return ours }

func (h *holdfast) read(_ context.Context, key int) (int64, bool) { return h.cache.Get(h.keys[key]) }

func (h *holdfast) has(key int) bool {
	_, ok := h.cache.Get(h.keys[key])
	return ok
}

func (h *holdfast) close() error { return h.cache.Close() }

type otterCache struct {
	keys   []string
	cache  *otter.Cache[string, int64]
	loader otter.Loader[string, int64]
}

func newOtter(s setting) (contestant, error) {
	o := &otterCache{keys: s.keys()}
	o.loader = otter.LoaderFunc[string, int64](func(ctx context.Context, key string) (int64, error) { return s.load(ctx, numberOf(key)) })
	o.cache = otter.Must(&otter.Options[string, int64]{
		MaximumSize: 2 * s.items, RefreshCalculator: otter.RefreshWriting[string, int64](s.period), Logger: &otter.NoopLogger{},
	})
	for _, key := range o.keys {
		o.cache.Set(key, 0)
	}
	return o, nil
}

func (*otterCache) name() string { return otters }

func (o *otterCache) read(ctx context.Context, key int) (int64, bool) {
	v, err := o.cache.Get(ctx, o.keys[key], o.loader)
	return v, err == nil
}

func (o *otterCache) has(key int) bool {
	_, ok := o.cache.GetIfPresent(o.keys[key])
	return ok
}

func (*otterCache) close() error { return nil }

type sturdycCache struct {
	keys  []string
	cache *sturdyc.Client[int64]
	load  loader
}

func newSturdyc(s setting) (contestant, error) {
	const shards, ttl, evictionPercentage = 64, 24 * time.Hour, 10
	y := &sturdycCache{keys: s.keys(), load: s.load}
	y.cache = sturdyc.New[int64](2*s.items, shards, ttl, evictionPercentage, sturdyc.WithNoContinuousEvictions(),
		sturdyc.WithEarlyRefreshes(s.period*9/10, s.period, ttl, s.period/10))
	for _, key := range y.keys {
		y.cache.Set(key, 0)
	}
	return y, nil
}

func (*sturdycCache) name() string { return sturdys }

func (s *sturdycCache) read(ctx context.Context, key int) (int64, bool) {
	v, err := s.cache.GetOrFetch(ctx, s.keys[key], func(ctx context.Context) (int64, error) { return s.load(ctx, key) })
	return v, err == nil
}

func (s *sturdycCache) has(key int) bool {
	_, ok := s.cache.Get(s.keys[key])
	return ok
}

func (*sturdycCache) close() error { return nil }
