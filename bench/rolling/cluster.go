package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/holdfast-go/holdfast/groupcache"
)

const valueBytes = 200

// source is the database: it takes its time, and counts.
type source struct {
	takes time.Duration
	loads atomic.Int64
}

// Get implements groupcache.Getter.
func (s *source) Get(ctx context.Context, _ string, dest groupcache.Sink) error {
	s.loads.Add(1)
	select {
	case <-time.After(s.takes):
		return dest.SetString(value, time.Time{})
	case <-ctx.Done():
		return ctx.Err()
	}
}

var value = string(make([]byte, valueBytes)) //nolint:gochecknoglobals // never changes

// process is a peer.
type process struct {
	url    string
	cache  *groupcache.Instance
	group  *groupcache.Group
	server *http.Server
	done   chan struct{}
}

func startProcess(ctx context.Context, s *source, w way) (*process, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := groupcache.Options{Self: "http://" + l.Addr().String(), HashFn: xxhash.Sum64, Replicas: 160}
	if w.off {
		o.Handover = -1
	}
	p := &process{url: o.Self, done: make(chan struct{})}
	if p.cache, err = groupcache.New(o); err != nil {
		return nil, err
	}
	if p.group, err = p.cache.NewGroup("g", 64<<20, s); err != nil {
		return nil, err
	}
	p.server = &http.Server{Handler: p.cache.Handler(), ReadHeaderTimeout: time.Second}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(l) // it ends by stop
	}()
	return p, nil
}

func (p *process) stop() {
	_ = p.server.Close()
	<-p.done
	_ = p.cache.Close()
}

// cluster is all processes, and what they are told of each other.
type cluster struct {
	config config
	source *source
	way    way

	mu      sync.RWMutex
	members []*process // that read and are told; guarded by mu
	telling sync.WaitGroup
}

// announce tells all members of who they are, each after a while of its own.
func (c *cluster) announce(lag time.Duration) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var urls []string
	for _, p := range c.members {
		urls = append(urls, p.url)
	}
	for _, p := range c.members {
		c.telling.Go(func() {
			if lag > 0 {
				time.Sleep(rand.N(lag))
			}
			_ = p.cache.SetPeers(urls...) // one that was stopped meanwhile need not know
		})
	}
}

func (c *cluster) replace(i int, with ...*process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	members := append([]*process{}, c.members[:i]...)
	members = append(members, c.members[i+1:]...)
	c.members = append(members, with...)
}

// one is any member.
func (c *cluster) one(r *rand.Rand) *process {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.members[r.IntN(len(c.members))]
}

// restart replaces the oldest process by a new one at another address.
func (c *cluster) restart(ctx context.Context) error {
	c.mu.RLock()
	old := c.members[0]
	c.mu.RUnlock()
	if c.way.drain {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := old.cache.Drain(limited); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
	}
	if c.way.killed {
		c.replace(0)
		old.stop()
		c.announce(c.config.lag)
	} else {
		c.replace(0)
		c.announce(c.config.lag)
		pause(ctx, c.config.grace)
		old.stop()
	}
	pause(ctx, c.config.gap)
	fresh, err := startProcess(ctx, c.source, c.way)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.members = append(c.members, fresh)
	c.mu.Unlock()
	c.announce(c.config.lag)
	pause(ctx, c.config.gap)
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func key(n uint64) string { return strconv.FormatUint(n, 36) }
