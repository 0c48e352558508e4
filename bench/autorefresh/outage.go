package main

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"
	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

const outageItems = 100_000

// scene is what an outage is played in.
type scene struct {
	readsPerSecond        int
	warmUp, healthy, dead time.Duration
	patience              time.Duration // of a read
}

// dataBase answers after 5 ms, as often as its limit lets it.
type dataBase struct {
	limit *rate.Limiter
	calls atomic.Int64
}

func newDataBase() *dataBase { return &dataBase{limit: rate.NewLimiter(rate.Inf, 100)} }

func (d *dataBase) get(ctx context.Context) (int64, error) {
	d.calls.Add(1)
	if err := d.limit.Wait(ctx); err != nil {
		return 0, err
	}
	rest(ctx, 5*time.Millisecond)
	return 1, ctx.Err()
}

// reader is one way to read through a memcached.
type reader interface {
	// quick answers from memory.
	quick(key int) bool
	// slow answers from wherever it can.
	slow(ctx context.Context, key int) error
	close() error
}

// playOutage kills memcached under load. The database's limit in the outage is twice what the cache
// under test has asked for before; since the shield has to be told that, each way is played twice,
// the first time only for the healthy rate.
func playOutage(ctx context.Context, c config, r *record) error {
	s := scene{20_000, time.Minute, 10 * time.Second, 30 * time.Second, 500 * time.Millisecond}
	if c.quick {
		s = scene{5_000, 6 * time.Second, 3 * time.Second, 5 * time.Second, 500 * time.Millisecond}
	}
	const answered, calls = "reads answered while it is dead, %", "database calls ÷ healthy"
	healthy := 0.0
	for _, x := range []struct {
		name                    string
		items                   int
		wantAnswered, wantCalls target
	}{
		{"memory for all items", outageItems, atLeast(99.9), atMost(2)},
		{"memory for a tenth of the items", outageItems / 10, target{}, atMost(2)},
	} {
		rehearsal, err := s.play(ctx, 0, 0, func(addr string, d *dataBase) (reader, error) { return newThrough(addr, d, x.items, 0) })
		if err != nil {
			return err
		}
		limit := 2 * rehearsal.healthy
		o, err := s.play(ctx, limit, s.dead, func(addr string, d *dataBase) (reader, error) { return newThrough(addr, d, x.items, limit) })
		if err != nil {
			return err
		}
		r.add(x.name+": "+answered, x.wantAnswered, ours, 100*o.answered)
		r.add(x.name+": "+calls, x.wantCalls, ours, o.dead/rehearsal.healthy)
		r.add(x.name+": healthy database calls a second", target{}, ours, rehearsal.healthy)
		r.add(x.name+": reads a second while it is dead", target{}, ours, o.asked)
		if x.items == outageItems {
			healthy = rehearsal.healthy
		}
	}
	o, err := s.play(ctx, 2*healthy, s.dead, newFallback)
	if err != nil {
		return err
	}
	r.add("memory for all items: "+answered, atLeast(99.9), plain, 100*o.answered)
	r.add("memory for all items: "+calls, atMost(2), plain, o.dead/healthy)
	r.add("memory for all items: healthy database calls a second", target{}, plain, o.healthy)
	r.add("memory for all items: reads a second while it is dead", target{}, plain, o.asked)
	return nil
}

// outcome is how a scene ended.
type outcome struct {
	healthy, dead float64 // database calls a second
	answered      float64 // share of the reads while memcached was dead
	asked         float64 // reads a second meanwhile; fewer than wanted if the machine cannot do them
}

// play warms up, kills memcached, and counts. With no time to be dead it only measures the healthy
// rate.
func (s scene) play(ctx context.Context, limit float64, dead time.Duration, make func(addr string, d *dataBase) (reader, error)) (o outcome, err error) {
	server, err := testutil.LaunchMemcached(ctx, testutil.ProcessOptions{})
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	d := newDataBase()
	way, err := make(server.Addr(), d)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, way.close()) }()
	l := &readLoad{way: way, scene: s}
	reading, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	load.Go(func() { l.run(reading) })

	rest(ctx, s.warmUp-s.healthy)
	before := d.calls.Load()
	rest(ctx, s.healthy)
	o.healthy = float64(d.calls.Load()-before) / s.healthy.Seconds()
	if dead == 0 {
		return o, ctx.Err()
	}
	d.limit.SetLimit(rate.Limit(limit))
	if err := server.Kill(); err != nil {
		return o, err
	}
	before = d.calls.Load()
	good, asked := l.good.Load(), l.asked.Load()
	rest(ctx, dead)
	o.dead = float64(d.calls.Load()-before) / dead.Seconds()
	good, asked = l.good.Load()-good, l.asked.Load()-asked
	o.asked = float64(asked) / dead.Seconds()
	o.answered = float64(good) / float64(max(asked, 1))
	return o, ctx.Err()
}

// readLoad reads by Zipf's law, whether or not the reads before have ended.
type readLoad struct {
	way         reader
	scene       scene
	asked, good atomic.Int64
	reads       sync.WaitGroup
}

func (l *readLoad) run(ctx context.Context) {
	z, random := newZipf(outageItems), rand.New(rand.NewPCG(9, 10))
	paced(ctx, l.scene.readsPerSecond, func() {
		key := z.draw(random)
		l.asked.Add(1)
		if l.way.quick(key) {
			l.good.Add(1)
			return
		}
		l.reads.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, l.scene.patience)
			defer cancel()
			if l.way.slow(bounded, key) == nil {
				l.good.Add(1)
			}
		})
	})
	l.reads.Wait()
}

// through is autorefresh over memcached.
type through struct {
	cache  *autorefresh.Cache[int, int64]
	client *memcache.Client
}

func newThrough(addr string, d *dataBase, items int, shield float64) (reader, error) {
	client := memcache.New(addr)
	store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "bench"})
	if err != nil {
		return nil, err
	}
	cache, err := autorefresh.New(func(ctx context.Context, _ int, _ int64) (int64, error) { return d.get(ctx) },
		autorefresh.Options[int, int64]{
			Period: time.Minute, HotFor: 10 * time.Minute, MaxItems: items, Workers: 16, MaxLoads: 64, Timeout: 2 * time.Second,
			Store: store, ShieldRate: shield,
		})
	return &through{cache, client}, err
}

func (t *through) quick(key int) bool {
	_, ok := t.cache.Get(key)
	return ok
}

func (t *through) slow(ctx context.Context, key int) error {
	_, err := t.cache.Load(ctx, key)
	return err
}

func (t *through) close() error { return errors.Join(t.cache.Close(), t.client.Close()) }

// fallback is what one writes by hand: ask memcached, and if it does not have the value the
// database.
type fallback struct {
	client   *gomemcache.Client
	database *dataBase
}

func newFallback(addr string, d *dataBase) (reader, error) {
	client := gomemcache.New(addr)
	client.MaxIdleConns = 256
	return &fallback{client, d}, nil
}

func (f *fallback) quick(int) bool { return false }

func (f *fallback) slow(ctx context.Context, key int) error {
	name := "plain:" + strconv.Itoa(key)
	if _, err := f.client.Get(name); err == nil {
		return nil
	}
	v, err := f.database.get(ctx)
	if err != nil {
		return err
	}
	_ = f.client.Set(&gomemcache.Item{Key: name, Value: binary.BigEndian.AppendUint64(nil, uint64(v)), Expiration: 600})
	return nil
}

func (f *fallback) close() error { return f.client.Close() }
