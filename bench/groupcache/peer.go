package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	golang "github.com/golang/groupcache"

	"github.com/holdfast-go/holdfast/groupcache"
)

const (
	group       = "peer"
	concurrency = 64
	startWithin = 10 * time.Second
)

// serve runs a peer that owns all keys, until its standard input ends. A key says how large its
// value is: "size/anything".
func serve(kind string, args []string) error {
	if len(args) != 1 {
		return errors.New("the address is missing")
	}
	value := make([]byte, 1<<20)
	size := func(key string) ([]byte, error) {
		n, _, _ := strings.Cut(key, "/")
		bytes, err := strconv.Atoi(n)
		if err != nil || bytes > len(value) {
			return nil, fmt.Errorf("the key %q does not say a size", key)
		}
		return value[:bytes], nil
	}
	var handler http.Handler
	switch kind {
	case "golang":
		golang.NewGroup(group, 256<<20, golang.GetterFunc(func(_ context.Context, key string, dest golang.Sink) error {
			b, err := size(key)
			if err != nil {
				return err
			}
			return dest.SetBytes(b)
		}))
		handler = golang.NewHTTPPoolOpts("http://"+args[0], nil)
	default:
		instance, err := groupcache.New(groupcache.Options{})
		if err != nil {
			return err
		}
		_, err = instance.NewGroup(group, 256<<20, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
			b, err := size(key)
			if err != nil {
				return err
			}
			return dest.SetBytes(b, time.Time{})
		}))
		if err != nil {
			return err
		}
		handler = instance.Handler()
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return (&http.Server{Addr: args[0], Handler: handler, ReadHeaderTimeout: time.Minute}).ListenAndServe()
}

// start runs a peer in a process of its own and returns its URL.
func start(kind string) (url string, stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address := l.Addr().String()
	_ = l.Close()
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(context.Background(), self, "-child", kind, address)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}
	for deadline := time.Now().Add(startWithin); ; time.Sleep(10 * time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			return "http://" + address, stop, conn.Close()
		}
		if time.Now().After(deadline) {
			stop()
			return "", nil, err
		}
	}
}

// counted counts the dials of a transport.
type counted struct {
	http.RoundTripper
	dials, requests atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{ConnectStart: func(string, string) { c.dials.Add(1) }})
	return c.RoundTripper.RoundTrip(r.WithContext(ctx))
}

// original returns golang's group as a process has it whose only peer is at a URL. One process may
// have one pool only, which all parts share.
func original() func(url string) *golang.Group {
	made := sync.OnceValues(func() (*golang.HTTPPool, *golang.Group) {
		pool := golang.NewHTTPPoolOpts("http://127.0.0.1:1", nil)
		return pool, golang.NewGroup(group, 0, golang.GetterFunc(func(context.Context, string, golang.Sink) error {
			return errors.New("the owner was not asked")
		}))
	})
	return func(url string) *golang.Group {
		pool, g := made()
		pool.Set(url)
		return g
	}
}

// peers measures gets of values that the owner has in its cache. The caller keeps nothing.
func (b bench) peers() error {
	theirURL, stopTheirs, err := start("golang")
	if err != nil {
		return err
	}
	defer stopTheirs()
	ourURL, stopOurs, err := start("holdfast")
	if err != nil {
		return err
	}
	defer stopOurs()

	theirs := b.original(theirURL)
	ours, instance, err := client(ourURL, nil, groupcache.FramesOff)
	if err != nil {
		return err
	}
	defer func() { _ = instance.Close() }()
	ctx := context.Background()
	rows := [][]string{{"value", "", "per second", "÷ golang", "÷ mailgun", "target", "met", "allocations"}}
	for i, bytes := range []int{100, 10_000} {
		key := func(i int) string { return strconv.Itoa(bytes) + "/" + strconv.Itoa(i%5000) }
		r, err := b.measure(2, concurrency, []contestant{
			{"golang", func(run context.Context, workers int) (int, error) {
				return loop(run, workers, func(i int) error {
					var v []byte
					return theirs.Get(ctx, key(i), golang.AllocatingByteSliceSink(&v))
				})
			}},
			{"holdfast", func(run context.Context, workers int) (int, error) {
				return loop(run, workers, func(i int) error {
					_, err := ours.View(ctx, key(i))
					return err
				})
			}},
		})
		if err != nil {
			return err
		}
		ratio := r[1].rate / r[0].rate
		target := []float64{1.8, 1.6}[i]
		rows = append(rows,
			[]string{strconv.Itoa(bytes), "golang", fmt.Sprintf("%.0f", r[0].rate), "1.00", fmt.Sprintf("%.2f", 1/mailgunPeer), "", "", fmt.Sprintf("%.0f", r[0].allocs)},
			[]string{
				strconv.Itoa(bytes), "holdfast", fmt.Sprintf("%.0f", r[1].rate), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.2f", ratio/mailgunPeer),
				fmt.Sprintf("≥ %.1f", target), verdicts[ratio/mailgunPeer >= target*0.95], fmt.Sprintf("%.0f", r[1].allocs),
			})
	}
	if err := b.table("peer: gets from another process over HTTP, 64 at once", rows); err != nil {
		return err
	}
	return b.dials(ourURL)
}

// client makes an instance whose only peer is at url.
func client(url string, transport http.RoundTripper, frames groupcache.Frames) (*groupcache.Group, *groupcache.Instance, error) {
	o := groupcache.Options{Silence: 2 * time.Second, Frames: frames} // a busy machine is no silent peer
	if transport != nil {
		o.Transport = func(context.Context) http.RoundTripper { return transport }
	}
	instance, err := groupcache.New(o)
	if err != nil {
		return nil, nil, err
	}
	g, err := instance.NewGroup(group, 0, groupcache.GetterFunc(func(context.Context, string, groupcache.Sink) error {
		return errors.New("the owner was not asked")
	}))
	if err != nil {
		return nil, nil, err
	}
	if err := instance.SetPeers(url); err != nil {
		return nil, nil, err
	}
	return g, instance, acquaint(instance, frames)
}

// acquaint waits until the instance has learnt who its peers are.
func acquaint(i *groupcache.Instance, frames groupcache.Frames) error {
	known := func() bool {
		for _, p := range i.Debug().Peers {
			if !p.Ours || frames == groupcache.FramesAuto && !p.Frames {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(startWithin); !known(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("a peer has not answered")
		}
	}
	return nil
}

// dials counts connections for many requests from 64 callers.
func (b bench) dials(url string) error {
	c := &counted{RoundTripper: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	g, instance, err := client(url, c, groupcache.FramesOff)
	if err != nil {
		return err
	}
	defer func() { _ = instance.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*b.round)
	defer cancel()
	_, err = loop(ctx, concurrency, func(i int) error {
		_, err := g.View(context.Background(), "100/"+strconv.Itoa(i%5000))
		return err
	})
	if err != nil {
		return err
	}
	perRequest := float64(c.dials.Load()) / float64(c.requests.Load())
	return b.table("dials", [][]string{
		{"requests", "dials", "each", "target", "met"},
		{fmt.Sprint(c.requests.Load()), fmt.Sprint(c.dials.Load()), fmt.Sprintf("%.5f", perRequest), "≤ 0.001", verdicts[perRequest <= 0.001]},
	})
}

// multi counts the requests of a GetMulti of 100 keys, over two peers.
func (b bench) multi() error {
	var urls []string
	for range 2 {
		url, stop, err := start("holdfast")
		if err != nil {
			return err
		}
		defer stop()
		urls = append(urls, url)
	}
	c := &counted{RoundTripper: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	g, instance, err := client(urls[0], c, groupcache.FramesOff)
	if err != nil {
		return err
	}
	defer func() { _ = instance.Close() }()
	if err := instance.SetPeers(urls...); err != nil {
		return err
	}
	if err := acquaint(instance, groupcache.FramesOff); err != nil {
		return err
	}
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = fmt.Sprintf("100/%x", i*7919)
	}
	before := c.requests.Load()
	start := time.Now()
	got, err := g.GetMulti(context.Background(), keys)
	took := time.Since(start)
	if err != nil {
		return err
	}
	n := c.requests.Load() - before
	return b.table("multi: 100 keys over two peers", [][]string{
		{"values", "requests", "target", "met", "took"},
		{fmt.Sprint(len(got)), fmt.Sprint(n), "2", verdicts[n <= 2 && len(got) == 100], took.Round(time.Microsecond).String()},
	})
}

// killed measures what a dead owner adds to a load, once it is known to be dead.
func (b bench) killed() error {
	url, stop, err := start("holdfast")
	if err != nil {
		return err
	}
	value := groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error { return dest.SetString("v", time.Time{}) })
	times := make(map[bool][]time.Duration)
	for _, withPeer := range []bool{false, true} {
		instance, err := groupcache.New(groupcache.Options{})
		if err != nil {
			return err
		}
		defer func() { _ = instance.Close() }()
		g, err := instance.NewGroup(group, 0, value)
		if err != nil {
			return err
		}
		if withPeer {
			if err := instance.SetPeers(url); err != nil {
				return err
			}
			if err := acquaint(instance, groupcache.FramesOff); err != nil {
				return err
			}
			stop()
		}
		for i := range 20_000 {
			start := time.Now()
			if _, err := g.View(context.Background(), "100/"+strconv.Itoa(i)); err != nil {
				return err
			}
			times[withPeer] = append(times[withPeer], time.Since(start))
		}
		slices.Sort(times[withPeer])
	}
	alone, dead := times[false], times[true]
	added := dead[len(dead)/2] - alone[len(alone)/2]
	return b.table("killed: a load while the owner is dead, 20 000 keys", [][]string{
		{"", "p50", "p99", "added to p50", "target", "met", "errors"},
		{"no peers", alone[len(alone)/2].String(), alone[len(alone)*99/100].String(), "", "", "", "0"},
		{"owner dead", dead[len(dead)/2].String(), dead[len(dead)*99/100].String(), added.String(), "≤ 5µs", verdicts[added <= 5*time.Microsecond], "0"},
	})
}
