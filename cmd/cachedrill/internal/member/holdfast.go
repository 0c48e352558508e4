package member

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-go/holdfast/groupcache"
)

// holdfast is package groupcache with its defaults, but for the hash function and a budget that is
// counted as plain counts its room.
type holdfast struct {
	urls     []string
	loader   loader
	instance *groupcache.Instance
	group    *groupcache.Group
	metrics  *prometheus.Registry
}

func newHoldfast(c Config) (*holdfast, error) {
	i, err := groupcache.New(groupcache.Options{
		Name: fmt.Sprintf("cachedrill-%d", c.Number), Self: c.Self, BasePath: peersPath, Replicas: Replicas, HashFn: xxhash.Sum64,
	})
	if err != nil {
		return nil, err
	}
	l := newLoader(c)
	getter := groupcache.GetterFunc(func(ctx context.Context, key string, dest groupcache.Sink) error {
		v, err := l.load(ctx, key)
		if err != nil {
			return err
		}
		return dest.SetString(v, time.Time{})
	})
	budget := int64(c.Room+c.Hot()) * int64(c.ItemSize)
	g, err := i.NewGroup("drill", budget, getter, groupcache.WithPayloadBudget())
	if err != nil {
		return nil, err
	}
	h := &holdfast{urls: c.URLs, loader: l, instance: i, group: g, metrics: prometheus.NewRegistry()}
	return h, h.metrics.Register(i)
}

func (h *holdfast) get(ctx context.Context, key string) (string, error) {
	v, err := h.group.View(ctx, key)
	return v.String(), err
}

func (h *holdfast) remove(ctx context.Context, key string) error { return h.group.Remove(ctx, key) }

func (h *holdfast) state() State {
	s := State{}
	for _, p := range h.instance.Debug().Peers {
		if !p.Self {
			s[p.URL] = p.Ours && p.State == "closed"
		}
	}
	return s
}

func (h *holdfast) serve(mux *http.ServeMux) {
	mux.Handle(peersPath, h.instance.Handler())
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics, promhttp.HandlerOpts{}))
	mux.Handle("GET /debug", h.instance.DebugHandler())
}

func (h *holdfast) join() error { return h.instance.SetPeers(h.urls...) }
