package member

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/lru"
	"github.com/holdfast-go/holdfast/groupcache/singleflight"
)

// plain is a cache shared by several processes, written plainly in the way of the original
// groupcache: a ring says who owns a key, the owner loads it, once for all who ask at the same
// time, and everybody keeps copies of what others own. A process that cannot reach an owner loads
// the key itself. Nothing is remembered of an owner that cannot be reached, and nothing but the
// caller's deadline ends a request to it.
type plain struct {
	self     string
	urls     []string
	ring     *consistenthash.Map
	loader   loader
	client   *http.Client
	loads    singleflight.Group
	removals singleflight.Group

	mu   sync.Mutex
	main *lru.Cache // loaded here; guarded by mu
	hot  *lru.Cache // what others own; guarded by mu
}

func newPlain(c Config) *plain {
	p := &plain{
		self: c.Self, urls: c.URLs, ring: NewRing(c.URLs), loader: newLoader(c), client: newClient(peerConnections),
		main: lru.New(c.Room), hot: lru.New(c.Hot()),
	}
	return p
}

// NewRing returns the ring that the members of both sides are on.
func NewRing(urls []string) *consistenthash.Map {
	ring := consistenthash.New(Replicas, xxhash.Sum64)
	ring.Add(urls...)
	return ring
}

func (p *plain) get(ctx context.Context, key string) (string, error) {
	if v, ok := p.lookup(key); ok {
		return v, nil
	}
	v, err := p.loads.Do(key, func() (any, error) { return p.load(ctx, key) })
	if err != nil {
		return "", err
	}
	return v.(string), nil
}

func (p *plain) lookup(key string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range []*lru.Cache{p.main, p.hot} {
		if v, ok := c.Get(key); ok {
			return v.(string), true
		}
	}
	return "", false
}

func (p *plain) keep(c *lru.Cache, key, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Add(key, value, time.Time{})
}

func (p *plain) drop(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.main.Remove(key)
	p.hot.Remove(key)
}

// load asks the owner, or the database.
func (p *plain) load(ctx context.Context, key string) (string, error) {
	if v, ok := p.lookup(key); ok { // it came while this call waited for its turn
		return v, nil
	}
	if owner := p.ring.Get(key); owner != p.self {
		v, err := request(ctx, p.client, http.MethodGet, owner+peersPath, key)
		if err == nil {
			p.keep(p.hot, key, v)
			return v, nil
		}
		if errors.Is(err, errAnswer) || ctx.Err() != nil {
			return "", err
		}
	}
	v, err := p.loader.load(ctx, key)
	if err == nil {
		p.keep(p.main, key, v)
	}
	return v, err
}

// remove drops a key at its owner first, and if that can be done, everywhere else.
func (p *plain) remove(ctx context.Context, key string) error {
	_, err := p.removals.Do(key, func() (any, error) { return nil, p.removeEverywhere(ctx, key) })
	return err
}

func (p *plain) removeEverywhere(ctx context.Context, key string) error {
	owner := p.ring.Get(key)
	if owner != p.self {
		if _, err := request(ctx, p.client, http.MethodDelete, owner+peersPath, key); err != nil {
			return err
		}
	}
	p.drop(key)
	errs := make([]error, len(p.urls))
	var telling sync.WaitGroup
	for i, peer := range p.urls {
		if peer != p.self && peer != owner {
			telling.Go(func() { _, errs[i] = request(ctx, p.client, http.MethodDelete, peer+peersPath, key) })
		}
	}
	telling.Wait()
	return errors.Join(errs...)
}

func (p *plain) state() State { return State{} }

func (p *plain) serve(mux *http.ServeMux) {
	mux.HandleFunc("GET "+peersPath, func(w http.ResponseWriter, r *http.Request) {
		v, err := p.get(r.Context(), r.FormValue("key"))
		reply(w, v, err)
	})
	mux.HandleFunc("DELETE "+peersPath, func(_ http.ResponseWriter, r *http.Request) { p.drop(r.FormValue("key")) })
}

func (p *plain) join() error { return nil }
