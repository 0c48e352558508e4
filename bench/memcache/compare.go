package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// cache is what both clients have.
type cache interface {
	Get(key string) (*memcache.Item, error)
	GetMulti(keys []string) (map[string]*memcache.Item, error)
	Set(item *memcache.Item) error
	Close() error
}

const keys = 1000

// workload does one operation.
type workload struct {
	valueSize int
	do        func(c cache, in *input) error
}

// input is what one goroutine works with.
type input struct {
	random *rand.Rand
	names  []string
	value  []byte
}

func (in *input) name() string { return in.names[in.random.IntN(keys)] }

func key(i int) string { return "bench:key:" + strconv.Itoa(100000+i) }

func getOne(c cache, in *input) error {
	_, err := c.Get(in.name())
	return err
}

func setOne(c cache, in *input) error {
	return c.Set(&memcache.Item{Key: in.name(), Value: in.value})
}

func getTen(c cache, in *input) error {
	at := in.random.IntN(keys - 10)
	got, err := c.GetMulti(in.names[at : at+10])
	if err == nil && len(got) != 10 {
		return fmt.Errorf("GetMulti found %d of 10", len(got))
	}
	return err
}

// getLarge asks for 100 MB at once.
func getLarge(c cache) error {
	names := make([]string, largeValues)
	for i := range names {
		names[i] = largeName(i)
	}
	got, err := c.GetMulti(names)
	if err == nil && len(got) != largeValues {
		return fmt.Errorf("GetMulti found %d of %d", len(got), largeValues)
	}
	return err
}

const (
	largeValues = 100
	largeSize   = 1_000_000
	// besideLarge is the workload beside which one caller asks for 100 MB again and again.
	besideLarge = "get+100MB"
)

func largeName(i int) string { return "bench:large:" + strconv.Itoa(i) }

// workloads by name.
func workloads() map[string]workload {
	return map[string]workload{
		"get":   {100, getOne},
		"get4k": {4096, getOne},
		"set":   {100, setOne},
		"mix": {100, func(c cache, in *input) error {
			if in.random.IntN(10) == 0 {
				return setOne(c, in)
			}
			return getOne(c, in)
		}},
		"multi10":   {100, getTen},
		besideLarge: {100, getOne},
		"large1pc": {100, func(c cache, in *input) error {
			if in.random.IntN(100) == 0 {
				_, err := c.Get("bench:large")
				return err
			}
			return getOne(c, in)
		}},
	}
}

func workloadNames() []string {
	var all []string
	for name := range workloads() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

type bench struct {
	config config
	server *testutil.Process
	proxy  *testutil.Proxy
	addr   string
	names  []string
}

// newBench starts the server, and the proxy if a delay is wanted.
//
//nolint:contextcheck // the proxy lasts as long as the bench, not as the call that starts it.
func newBench(ctx context.Context, c config) (*bench, error) {
	server, err := testutil.LaunchMemcached(ctx, testutil.ProcessOptions{Args: []string{"-m", "256", "-c", "4096", "-t", "2"}})
	if err != nil {
		return nil, err
	}
	b := &bench{config: c, server: server, addr: server.Addr()}
	for i := range keys {
		b.names = append(b.names, key(i))
	}
	if c.delay > 0 {
		if b.proxy, err = testutil.NewProxy(server.Addr()); err != nil {
			return nil, err
		}
		b.proxy.SetDelay(c.delay)
		b.addr = b.proxy.Addr()
	}
	return b, nil
}

func (b *bench) close() {
	if b.proxy != nil {
		_ = b.proxy.Close()
	}
	_ = b.server.Close()
}

// round is one measurement.
type round struct {
	perSecond float64
	p99       time.Duration
	cpu       time.Duration // per operation, client and server
	errors    int64
}

type comparison struct {
	goroutines    int
	raw, holdfast round
}

func (c comparison) cells() []string {
	ratio := func(ours, theirs float64) string { return fmt.Sprintf("%.2f", ours/theirs) }
	return []string{
		strconv.Itoa(c.goroutines),
		fmt.Sprintf("%.0f", c.raw.perSecond), fmt.Sprintf("%.0f", c.holdfast.perSecond), ratio(c.holdfast.perSecond, c.raw.perSecond),
		c.raw.p99.Round(time.Microsecond).String(), c.holdfast.p99.Round(time.Microsecond).String(), ratio(float64(c.holdfast.p99), float64(c.raw.p99)),
		c.raw.cpu.Round(10 * time.Nanosecond).String(), c.holdfast.cpu.Round(10 * time.Nanosecond).String(), ratio(float64(c.holdfast.cpu), float64(c.raw.cpu)),
		fmt.Sprintf("%d/%d", c.raw.errors, c.holdfast.errors),
	}
}

func (c comparison) bars() tables.Group {
	return tables.Group{
		Name: fmt.Sprintf("%d goroutines", c.goroutines),
		Bars: []tables.Bar{{Name: "gomemcache", Value: c.raw.perSecond}, {Name: "holdfast", Value: c.holdfast.perSecond}},
	}
}

func (b *bench) compare(ctx context.Context, name string, goroutines int) (comparison, error) {
	w, ok := workloads()[name]
	if !ok {
		return comparison{}, fmt.Errorf("no workload %q; there are %s", name, strings.Join(workloadNames(), ", "))
	}
	raw := gomemcache.New(b.addr)
	raw.MaxIdleConns, raw.Timeout = 1024, 2*time.Second
	ours, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{b.addr}, MaxIdleConns: 1024, Timeout: 2 * time.Second})
	if err != nil {
		return comparison{}, err
	}
	defer func() { _ = raw.Close(); _ = ours.Close() }()
	value := make([]byte, w.valueSize)
	for i := range keys {
		if err := raw.Set(&memcache.Item{Key: key(i), Value: value}); err != nil {
			return comparison{}, err
		}
	}
	if err := raw.Set(&memcache.Item{Key: "bench:large", Value: make([]byte, 500_000)}); err != nil {
		return comparison{}, err
	}
	for i := 0; name == besideLarge && i < largeValues; i++ {
		if err := raw.Set(&memcache.Item{Key: largeName(i), Value: make([]byte, largeSize)}); err != nil {
			return comparison{}, err
		}
	}
	var rounds [2][]round
	for range b.config.rounds {
		for i, c := range []cache{raw, ours} {
			if ctx.Err() != nil {
				return comparison{}, ctx.Err()
			}
			if b.config.only == "" || b.config.only == []string{"raw", "holdfast"}[i] {
				if name == besideLarge {
					rounds[i] = append(rounds[i], b.measureBesideLarge(c, w, goroutines))
					continue
				}
				rounds[i] = append(rounds[i], b.measure(c, w, goroutines))
			}
		}
	}
	return comparison{goroutines, median(rounds[0]), median(rounds[1])}, nil
}

func median(rounds []round) round {
	var m round
	if len(rounds) == 0 {
		return m
	}
	for _, r := range rounds {
		m.errors += r.errors
	}
	middle := len(rounds) / 2
	slices.SortFunc(rounds, func(a, b round) int { return int(a.perSecond - b.perSecond) })
	m.perSecond = rounds[middle].perSecond
	slices.SortFunc(rounds, func(a, b round) int { return int(a.p99 - b.p99) })
	m.p99 = rounds[middle].p99
	slices.SortFunc(rounds, func(a, b round) int { return int(a.cpu - b.cpu) })
	m.cpu = rounds[middle].cpu
	return m
}

// measureBesideLarge counts among the errors those of the large GetMultis, and if there was none.
func (b *bench) measureBesideLarge(c cache, w workload, goroutines int) round {
	var stop atomic.Bool
	var failed, done int64
	var large sync.WaitGroup
	large.Go(func() {
		for !stop.Load() {
			if err := getLarge(c); err != nil {
				failed++
			} else {
				done++
			}
		}
	})
	r := b.measure(c, w, goroutines)
	stop.Store(true)
	large.Wait()
	if r.errors += failed; done == 0 {
		r.errors++
	}
	return r
}

func (b *bench) measure(c cache, w workload, goroutines int) round {
	value := make([]byte, w.valueSize)
	var done, failed atomic.Int64
	var stop atomic.Bool
	times := make([][]time.Duration, goroutines)
	var workers sync.WaitGroup
	cpu, began := b.cpu(), time.Now()
	for g := range goroutines {
		workers.Go(func() {
			in := &input{rand.New(rand.NewPCG(uint64(g), 1)), b.names, value}
			mine := make([]time.Duration, 0, 1<<12)
			n := int64(0)
			for !stop.Load() {
				start := time.Now()
				if err := w.do(c, in); err != nil {
					failed.Add(1)
				}
				mine = append(mine, time.Since(start))
				n++
			}
			done.Add(n)
			times[g] = mine
		})
	}
	time.Sleep(b.config.duration)
	stop.Store(true)
	workers.Wait()
	elapsed, used := time.Since(began), b.cpu()-cpu
	all := slices.Concat(times...)
	slices.Sort(all)
	n := done.Load()
	return round{float64(n) / elapsed.Seconds(), all[len(all)*99/100], used / time.Duration(n), failed.Load()}
}
