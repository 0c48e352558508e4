package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// replica is one process of several: a cache with a client of its own.
type replica struct {
	cache  *autorefresh.Cache[int, int64]
	client *memcache.Client // nil if it is alone
	calls  *atomic.Int64
}

func newReplica(addr string, calls *atomic.Int64, o autorefresh.Options[int, int64]) (*replica, error) {
	p := &replica{calls: calls}
	if addr != "" {
		p.client = memcache.New(addr)
		store, err := memcachedstore.New(p.client, memcachedstore.Options{Namespace: "bench"})
		if err != nil {
			return nil, err
		}
		o.Store = store
	}
	var err error
	p.cache, err = autorefresh.New(func(ctx context.Context, _ int, old int64) (int64, error) {
		calls.Add(1)
		rest(ctx, 5*time.Millisecond)
		return old + 1, nil
	}, o)
	return p, err
}

func (p *replica) close() error {
	err := p.cache.Close()
	if p.client != nil {
		err = errors.Join(err, p.client.Close())
	}
	return err
}

// playReplicas compares three replicas that share with three that do not and with one, all at the
// same time.
func playReplicas(ctx context.Context, c config, r *record) error {
	const items = 1000
	period := scaled(c, 5*time.Second, 2*time.Second)
	server, err := testutil.LaunchMemcached(ctx, testutil.ProcessOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	var one, sharing, alone atomic.Int64
	var all []*replica
	defer func() {
		for _, p := range all {
			_ = p.close()
		}
	}()
	for _, x := range []struct {
		n     int
		addr  string
		calls *atomic.Int64
	}{{1, "", &one}, {3, server.Addr(), &sharing}, {3, "", &alone}} {
		for range x.n {
			p, err := newReplica(x.addr, x.calls, autorefresh.Options[int, int64]{Period: period})
			if err != nil {
				return err
			}
			all = append(all, p)
			for key := range items {
				if _, _, err := p.cache.GetOrCreate(key, 0); err != nil {
					return err
				}
			}
		}
	}
	rest(ctx, 2*period)
	first, shared, single := one.Load(), sharing.Load(), alone.Load()
	rest(ctx, 4*period)
	first, shared, single = one.Load()-first, sharing.Load()-shared, alone.Load()-single
	const what = "three replicas: calls ÷ calls of one"
	r.add(what, atMost(1.1), ours, float64(shared)/float64(first))
	r.add(what, atMost(1.1), plain, float64(single)/float64(first))
	return nil
}
