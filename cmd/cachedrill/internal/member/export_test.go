package member

import (
	"context"
	"net/http"
	"time"
)

// Cache is a member without its process.
type Cache struct {
	cache
	handler http.Handler
}

// NewCache makes one.
func NewCache(c Config) (Cache, error) {
	m, err := c.cache()
	if err != nil {
		return Cache{}, err
	}
	mux := http.NewServeMux()
	m.serve(mux)
	mount(mux, m, c.Timeout)
	return Cache{m, mux}, nil
}

// Handler is what it answers with.
func (c Cache) Handler() http.Handler { return c.handler }

// Get asks it for a key.
func (c Cache) Get(ctx context.Context, key string) (string, error) { return c.get(ctx, key) }

// Remove has it remove a key.
func (c Cache) Remove(ctx context.Context, key string) error { return c.remove(ctx, key) }

// State is which of the others it asks.
func (c Cache) State() State { return c.state() }

// Join tells it of its peers.
func (c Cache) Join() error { return c.join() }

// Close ends what it runs in the background.
func (c Cache) Close() error {
	switch m := c.cache.(type) {
	case *holdfast:
		m.loader.client.CloseIdleConnections()
		return m.instance.Close()
	case *plain:
		m.loader.client.CloseIdleConnections()
		m.client.CloseIdleConnections()
	}
	return nil
}

// CallTogether lets many callers get a key at the same moment.
func (c Cache) CallTogether(ctx context.Context, key string, callers int, timeout time.Duration) Herd {
	return callTogether(ctx, c, key, callers, timeout)
}
