package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/groupcache"
)

// tally counts requests by their method.
type tally struct {
	mu       sync.Mutex
	byMethod map[string]int // guarded by mu
}

func (t *tally) add(method string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byMethod == nil {
		t.byMethod = make(map[string]int)
	}
	t.byMethod[method]++
}

// of is how many requests with these methods there were.
func (t *tally) of(methods ...string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, method := range methods {
		n += t.byMethod[method]
	}
	return n
}

// memory is a network that is a call of a function: a RoundTripper that has one handler answer for
// all hosts.
type memory struct {
	handler http.Handler
	dead    map[string]bool // hosts that refuse connections; not changed in use
	revived atomic.Bool     // the dead are back
	tally   tally           // of all requests
	toDead  tally
}

// RoundTrip implements http.RoundTripper.
func (m *memory) RoundTrip(r *http.Request) (*http.Response, error) {
	if m.dead[r.URL.Host] && !m.revived.Load() {
		m.toDead.add(r.Method)
		return nil, fmt.Errorf("dial %s: %w", r.URL.Host, syscall.ECONNREFUSED)
	}
	m.tally.add(r.Method)
	a := &answer{header: make(http.Header), code: http.StatusOK}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	m.handler.ServeHTTP(a, r)
	return &http.Response{
		StatusCode: a.code, Status: fmt.Sprint(a.code, " ", http.StatusText(a.code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer is an http.ResponseWriter.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter. Signs of life are left out.
func (a *answer) WriteHeader(code int) {
	if code >= http.StatusOK {
		a.code = code
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// groupName is that of the group of all instances.
const groupName = "g"

// hundred is what all keys have as their value.
var hundred = groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error { //nolint:gochecknoglobals // a function
	return dest.SetString(strings.Repeat("v", 100), time.Time{})
})

// newInstance makes an instance with one group. It hands nothing over, so that calls cost what they
// do when the peers have not changed lately, and is patient unless it is told otherwise, so that on
// a busy machine nothing is asked twice.
func newInstance(o groupcache.Options) (*groupcache.Instance, *groupcache.Group, error) {
	o.Handover = -1
	if o.PeerTimeout == 0 {
		o.PeerTimeout, o.Silence = 30*time.Second, 30*time.Second
	}
	i, err := groupcache.New(o)
	if err != nil {
		return nil, nil, err
	}
	g, err := i.NewGroup(groupName, 8<<20, hundred)
	if err != nil {
		return nil, nil, errors.Join(err, i.Close())
	}
	return i, g, nil
}

// pair is an instance that has peers, and the one that answers for all of them.
type pair struct {
	instance *groupcache.Instance
	group    *groupcache.Group
	served   *groupcache.Instance
	network  *memory
	urls     []string
}

// newPair makes an instance among n peers, of which the last ones are dead. Nothing is sent before
// join.
func newPair(n, dead int, adapt func(*groupcache.Options)) (*pair, error) {
	served, _, err := newInstance(groupcache.Options{})
	if err != nil {
		return nil, err
	}
	p := &pair{served: served, urls: urls(0, n), network: &memory{handler: served.Handler(), dead: make(map[string]bool)}}
	for _, url := range p.urls[n-dead:] {
		p.network.dead[strings.TrimPrefix(url, "http://")] = true
	}
	o := groupcache.Options{Self: p.urls[0], Transport: func(context.Context) http.RoundTripper { return p.network }}
	if adapt != nil {
		adapt(&o)
	}
	if p.instance, p.group, err = newInstance(o); err != nil {
		return nil, errors.Join(err, served.Close())
	}
	return p, nil
}

// join sets the peers and waits until those alive have been greeted.
func (p *pair) join(ctx context.Context) error {
	if err := p.instance.SetPeers(p.urls...); err != nil {
		return err
	}
	return eventually(ctx, "all peers have been greeted", func() bool {
		return p.network.tally.of(http.MethodOptions) == len(p.urls)-1-len(p.network.dead) && acquainted(p.instance) == len(p.urls)-1-len(p.network.dead)
	})
}

func (p *pair) close() error { return errors.Join(p.instance.Close(), p.served.Close()) }

// acquainted is how many peers have answered a greeting.
func acquainted(i *groupcache.Instance) (n int) {
	for _, p := range i.Debug().Peers {
		if p.Ours {
			n++
		}
	}
	return n
}

// series is how many metrics an instance exports.
func series(c prometheus.Collector) (n int) {
	ch := make(chan prometheus.Metric)
	go func() {
		defer close(ch)
		c.Collect(ch)
	}()
	for range ch {
		n++
	}
	return n
}

// knownPeers measures what peers cost that are known, without the network.
func knownPeers(ctx context.Context, s settings, m *measured) ([]table, error) {
	t := table{
		title: "One process and its peers, without a network",
		note: "A real Instance whose RoundTripper calls the Handler of another one. SetPeers: with ring and breakers, without the greetings. " +
			"Kept: bytes for each peer while nothing happens. Remove: the processor time includes that of the handlers.",
		head: []string{
			"peers", "SetPeers", "kept for a peer", "goroutines for a peer", "metrics of the process", "requests of a Remove", "Remove", "CPU",
			"allocated",
		},
	}
	for _, n := range s.peers {
		k, err := knownPeersOf(ctx, s, n)
		if err != nil {
			return nil, fmt.Errorf("%d peers in memory: %w", n, err)
		}
		t.add(count(n), inTime(k.set), inBytes(k.each.bytes), fmt.Sprintf("%.2f", k.each.goroutines), count(k.series), count(k.told), inTime(k.remove.p50),
			inTime(k.remove.cpu), inBytes(k.allocated))
		m.peerBytes, m.peerSeries = k.each.bytes, float64(k.series-k.alone)/float64(n-1)
	}
	return []table{t}, nil
}

type knownCost struct {
	set       time.Duration
	each      footprint // of a peer
	alone     int       // metrics without peers
	series    int       // metrics with them
	told      int       // requests of a Remove
	remove    timing
	allocated float64 // by a Remove
}

func knownPeersOf(ctx context.Context, s settings, n int) (k knownCost, err error) {
	p, err := newPair(n, 0, nil)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	before := takeFootprint()
	k.alone = series(p.instance)
	start := time.Now()
	if err := p.instance.SetPeers(p.urls...); err != nil {
		return k, err
	}
	k.set = time.Since(start)
	if err := p.join(ctx); err != nil {
		return k, err
	}
	k.each = takeFootprint().since(before, n-1)
	k.series = series(p.instance)
	removals := s
	removals.calls = max(5, min(s.calls, 20_000/n))
	sofar := allocated()
	k.remove, err = measureCalls(removals, func(i int) error { return p.group.Remove(ctx, scattered("remove", i)) })
	all := removals.rounds * removals.calls
	k.allocated = float64(allocated()-sofar) / float64(all)
	if k.told = p.network.tally.of(http.MethodDelete) / all; k.told != n-1 {
		err = errors.Join(err, fmt.Errorf("a Remove told %d peers of %d", k.told, n-1))
	}
	return k, err
}
