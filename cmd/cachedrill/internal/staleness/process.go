package staleness

import (
	"context"
	"errors"
	"fmt"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"
	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// firstTrial is when a breaker first tries the source again.
const firstTrial = 100 * time.Millisecond

// process stands for one of the processes of a side: it has a cache of its own, and shares the
// second level with the others.
type process struct {
	get   func(ctx context.Context, key string) (value, error)
	uses  func() (source, second bool) // whether it asks them now; nil: it always does
	close func() error

	collectors []prometheus.Collector
}

// newPlain makes a process with otter and its loader, as they are: reads of values older than the
// period have them loaded again. The loader reads through the second level, where values live for a
// period.
func newPlain(o Options, _ int, addr string, src *source) (process, error) {
	second := gomemcache.New(addr)
	second.Timeout, second.MaxIdleConns = o.Timeout, o.Workers
	cache, err := otter.New(&otter.Options[string, value]{
		MaximumSize:       o.local(),
		RefreshCalculator: otter.RefreshWriting[string, value](o.period()),
		ExpiryCalculator:  otter.ExpiryWriting[string, value](o.maxStale()),
		Logger:            &otter.NoopLogger{},
	})
	if err != nil {
		return process{}, errors.Join(err, second.Close())
	}
	ttl := int32(max(o.period().Round(time.Second), time.Second) / time.Second)
	loader := otter.LoaderFunc[string, value](func(ctx context.Context, key string) (value, error) {
		if item, err := second.Get(key); err == nil {
			return decode(item.Value)
		}
		ctx, cancel := context.WithTimeout(ctx, o.Timeout)
		defer cancel()
		v, err := src.get(ctx)
		if err != nil {
			return value{}, err
		}
		data, err := encode(v)
		if err != nil {
			return value{}, err
		}
		_ = second.Set(&gomemcache.Item{Key: key, Value: data, Expiration: ttl}) // the value is there; others have to load it themselves
		return v, nil
	})
	return process{
		get: func(ctx context.Context, key string) (value, error) { return cache.Get(ctx, key, loader) },
		close: func() error {
			cache.StopAllGoroutines()
			return second.Close()
		},
	}, nil
}

// newHoldfast makes a process with autorefresh over the same second level.
func newHoldfast(o Options, number int, addr string, src *source) (process, error) {
	name := fmt.Sprintf("cachedrill-%d", number+1)
	client, err := memcache.NewWithOptions(nil, memcache.Options{Name: name + "-second", Servers: []string{addr}, Timeout: o.Timeout, MaxIdleConns: o.Workers})
	if err != nil {
		return process{}, err
	}
	store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "cachedrill:" + o.Run + ":h"})
	if err != nil {
		return process{}, errors.Join(err, client.Close())
	}
	refresh := func(ctx context.Context, _ string, _ value) (value, error) { return src.get(ctx) }
	cache, err := autorefresh.New(refresh, autorefresh.Options[string, value]{
		Name: name, Period: o.period(), MaxStale: o.maxStale(), MaxItems: o.local(), Timeout: o.Timeout,
		LoadTimeout: o.Timeout / 2, // so that what the second level still has can be served before the caller's time is up
		Store:       store, ShieldRate: o.shieldRate(),
		Breaker: breaker.Options{Backoff: o.backoff},
	})
	if err != nil {
		return process{}, errors.Join(err, client.Close())
	}
	return process{
		get: cache.Load,
		uses: func() (source, second bool) {
			s := cache.Stats()
			return s.Source == breaker.Closed, !s.StoreDown
		},
		close:      func() error { return errors.Join(cache.Close(), client.Close()) },
		collectors: []prometheus.Collector{cache, client},
	}, nil
}

// backoff says when the breaker of the source tries again: twice a period at least.
func (o Options) backoff(_ error, attempt int) time.Duration {
	return min(firstTrial<<min(attempt, 10), o.period()/2)
}
