package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

// ledger is a source that remembers all writes.
type ledger struct {
	calls  atomic.Int64
	mu     sync.Mutex
	values map[int]int64 // guarded by mu
}

func (l *ledger) refresh(_ context.Context, key int, _ int64) (int64, error) {
	l.calls.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[key], nil
}

// write writes to the source, then to a cache.
func (l *ledger) write(ctx context.Context, c *watched, key int, v int64) error {
	l.mu.Lock()
	l.values[key] = v
	l.mu.Unlock()
	return c.Set(ctx, key, v)
}

// watched is a cache of a process that watches.
type watched = autorefresh.Cache[int, int64]

// pair are two processes that share a store: what the first writes the second reads.
type pair struct {
	source       *ledger
	first, other *watched
	close        []func()
}

func newPair(stores []autorefresh.Store, period time.Duration) (*pair, error) {
	p := &pair{source: &ledger{values: make(map[int]int64)}}
	for i, into := range []**watched{&p.first, &p.other} {
		c, err := autorefresh.New(p.source.refresh, autorefresh.Options[int, int64]{Period: period, Store: stores[i], Watch: true})
		if err != nil {
			return p, err
		}
		*into = c
		p.close = append(p.close, func() { _ = c.Close() })
	}
	return p, nil
}

func (p *pair) end() {
	for _, end := range slices.Backward(p.close) {
		end()
	}
}

// fill loads items in both.
func (p *pair) fill(ctx context.Context, items int) error {
	for key := range items {
		for _, c := range []*watched{p.first, p.other} {
			if _, err := c.Load(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// latencies are how long what the first writes takes to be read in the other, sorted.
func (p *pair) latencies(ctx context.Context, items, writes int) ([]time.Duration, error) {
	var took []time.Duration
	for i := range writes {
		key, want := i%items, int64(i+1)
		began := time.Now()
		if err := p.source.write(ctx, p.first, key, want); err != nil {
			return nil, err
		}
		for v, _ := p.other.Get(key); v != want; v, _ = p.other.Get(key) {
			if time.Since(began) > 10*time.Second {
				return nil, errors.New("what one process has written never comes to the other")
			}
			rest(ctx, 200*time.Microsecond)
		}
		took = append(took, time.Since(began))
		rest(ctx, 2*time.Millisecond)
	}
	slices.Sort(took)
	return took, ctx.Err()
}

// busCut breaks the connections on which a client is told of keys, and no others.
type busCut struct {
	mu    sync.Mutex
	on    bool                 // guarded by mu
	conns map[*tapped]struct{} // those that have asked to be told; guarded by mu
}

type tapped struct {
	net.Conn

	cut *busCut
}

func (b *busCut) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &tapped{conn, b}, nil
}

func (c *tapped) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("TRACKING")) {
		c.cut.mu.Lock()
		defer c.cut.mu.Unlock()
		if c.cut.on {
			return 0, net.ErrClosed
		}
		c.cut.conns[c] = struct{}{}
	}
	return c.Conn.Write(p)
}

func (b *busCut) set(on bool) { //nolint:revive // the flag is the state
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = on
	for c := range b.conns {
		if on {
			_ = c.Close()
			delete(b.conns, c)
		}
	}
}

// redisPair makes a pair on one redis, and what cuts the other's bus.
func redisPair(ctx context.Context, period time.Duration) (*pair, *busCut, func(), error) {
	cluster, err := redis.LaunchCluster(ctx, redis.ClusterOptions{Sentinels: 1, Replicas: 1})
	if err != nil {
		return nil, nil, nil, err
	}
	ends := []func(){func() { _ = cluster.Close() }}
	end := func() {
		for _, one := range slices.Backward(ends) {
			one()
		}
	}
	cut := &busCut{conns: make(map[*tapped]struct{})}
	var stores []autorefresh.Store
	for _, reach := range []sentinel.Endpoint{{}, {Dial: cut.dial}} {
		client, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{"mymaster"}, Server: reach})
		if err != nil {
			return nil, nil, end, err
		}
		ends = append(ends, client.Close)
		store, err := redisstore.New(client, redisstore.Options{Primary: "mymaster", Namespace: "bench"})
		if err != nil {
			return nil, nil, end, err
		}
		stores = append(stores, store)
	}
	p, err := newPair(stores, period)
	ends = append(ends, p.end)
	return p, cut, end, err
}

// playWatch measures how soon a process reads what another writes, and what a cut of that costs.
func playWatch(ctx context.Context, c config, r *record) error {
	return errors.Join(playWatchMemcached(ctx, c, r), playWatchRedis(ctx, c, r))
}

func playWatchMemcached(ctx context.Context, c config, r *record) error {
	server, err := testutil.LaunchMemcached(ctx, testutil.ProcessOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	var stores []autorefresh.Store
	cut := &journalCut{mended: make(chan struct{})}
	close(cut.mended)
	for i := range 2 {
		client := memcache.New(server.Addr())
		defer func() { _ = client.Close() }()
		store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "bench"})
		if err != nil {
			return err
		}
		if i == 0 {
			stores = append(stores, store)
		} else {
			stores = append(stores, &severable{store, cut})
		}
	}
	lasts := cutTime(c)
	p, err := newPair(stores, lasts/2)
	defer p.end()
	if err != nil {
		return err
	}
	return p.play(ctx, c, r, bus{"memcached", 250, 500, lasts, cut.set})
}

// journalCut keeps a process from reading memcached's journal, and from nothing else.
type journalCut struct {
	mu     sync.Mutex
	mended chan struct{}      // closed unless it is cut; guarded by mu
	leave  context.CancelFunc // ends the Watch under way; guarded by mu
}

func (j *journalCut) set(on bool) { //nolint:revive // the flag is the state
	j.mu.Lock()
	defer j.mu.Unlock()
	if !on {
		close(j.mended)
		return
	}
	j.mended = make(chan struct{})
	if j.leave != nil {
		j.leave()
	}
}

// enter waits until the journal may be read, and returns a context that ends when it is cut.
func (j *journalCut) enter(ctx context.Context) (context.Context, context.CancelFunc) {
	j.mu.Lock()
	mended := j.mended
	j.mu.Unlock()
	select {
	case <-mended:
	case <-ctx.Done():
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	ctx, j.leave = context.WithCancel(ctx)
	return ctx, j.leave
}

// severable is a store whose journal can be cut off.
type severable struct {
	*memcachedstore.Store

	cut *journalCut
}

func (s *severable) Watch(ctx context.Context, tell func(autorefresh.Notice)) error {
	for {
		until, end := s.cut.enter(ctx)
		err := s.Store.Watch(until, tell)
		end()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tell(autorefresh.Notice{Down: err})
	}
}

func playWatchRedis(ctx context.Context, c config, r *record) error {
	lasts := cutTime(c)
	p, cut, end, err := redisPair(ctx, lasts/2)
	if end != nil {
		defer end()
	}
	if err != nil {
		return err
	}
	return p.play(ctx, c, r, bus{"redis", 20, 5_000, lasts, cut.set})
}

// cutTime is for how long the bus is cut.
func cutTime(c config) time.Duration { return scaled(c, 30*time.Second, 5*time.Second) }

// bus is a way to tell processes of changes, and its expected effect.
type bus struct {
	name   string
	most   float64 // milliseconds from write to read, p99
	writes int     // to measure that with
	lasts  time.Duration
	cut    func(on bool)
}

// play measures a bus: first as it is, then cut, then back.
func (p *pair) play(ctx context.Context, c config, r *record, b bus) error {
	const items = 2_000
	if err := p.fill(ctx, items); err != nil {
		return err
	}
	took, err := p.latencies(ctx, items, scaled(c, b.writes, b.writes/10))
	if err != nil {
		return err
	}
	r.add("write to read, "+b.name+", p99, ms", atMost(b.most), ours, took[len(took)*99/100].Seconds()*1e3)
	whole, err := p.writeFor(ctx, b.lasts, items)
	if err != nil {
		return err
	}
	b.cut(true)
	without, err := p.writeFor(ctx, b.lasts, items)
	if err != nil {
		return err
	}
	if p.same(items) {
		return errors.New("the bus was cut, and yet both processes have the same")
	}
	b.cut(false)
	back := time.Now()
	for !p.same(items) && time.Since(back) < 10*time.Second {
		rest(ctx, time.Millisecond)
	}
	r.add(b.name+" bus cut: calls of the source ÷ without", atMost(1.5), ours, float64(without)/float64(max(whole, 1)))
	r.add(b.name+" bus back: all is up to date after, s", atMost(1), ours, time.Since(back).Seconds())
	return ctx.Err()
}

// writeFor writes to the items, 100 a second, and returns how many calls of the source there were.
// On a busy machine a write may run out of time; it is made up for, as the cache promises. The
// error is that more than one in a hundred did.
func (p *pair) writeFor(ctx context.Context, d time.Duration, items int) (calls int64, err error) {
	before := p.source.calls.Load()
	n, failed := 0, 0
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; n++ {
		if bad := p.source.write(ctx, p.first, n*7%items, time.Now().UnixNano()); bad != nil {
			failed, err = failed+1, bad
		}
		rest(ctx, 10*time.Millisecond)
	}
	if failed <= n/100 {
		err = nil
	}
	return p.source.calls.Load() - before, err
}

// same reports whether both have what the source has.
func (p *pair) same(items int) bool {
	p.source.mu.Lock()
	defer p.source.mu.Unlock()
	for key := range items {
		for _, c := range []*watched{p.first, p.other} {
			if v, ok := c.Get(key); !ok || v != p.source.values[key] {
				return false
			}
		}
	}
	return true
}
