package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

type config struct {
	memcached string
	database  string
	products  int
	period    time.Duration
	shield    float64
}

// service answers requests from memory.
type service struct {
	database *database
	client   *memcache.Client
	products *autorefresh.Cache[int, Product]
	metrics  *prometheus.Registry
}

func newService(ctx context.Context, c config) (*service, error) {
	db, err := openDatabase(ctx, c.database, c.products)
	if err != nil {
		return nil, err
	}
	s := &service{database: db, client: memcache.New(c.memcached), metrics: prometheus.NewRegistry()}

	// This is all that there is to it.
	store, err := memcachedstore.New(s.client, memcachedstore.Options{Namespace: "products"})
	if err == nil {
		s.products, err = autorefresh.New(db.load, autorefresh.Options[int, Product]{
			Name:        "products",
			Period:      c.period,
			HotFor:      10 * c.period, // what nobody asks for is not refreshed
			NegativeTTL: c.period,      // nor is the database asked twice for what it does not have
			MaxItems:    100_000,
			Store:       store,
			ShieldRate:  c.shield,
			Logger:      slog.Default(),
		})
	}
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	s.metrics.MustRegister(s.products, s.client)
	return s, nil
}

func (s *service) close() {
	if err := errors.Join(s.products.Close(), s.client.Close(), s.database.close()); err != nil {
		slog.Error("closing", "error", err)
	}
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", s.product)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	return mux
}

// patience is how long a request waits for a product that is not in memory.
const patience = time.Second

func (s *service) product(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		http.Error(w, "a product's id is a number", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	p, err := s.products.Load(ctx, id)
	switch {
	case errors.Is(err, autorefresh.ErrNotFound):
		http.Error(w, "no such product", http.StatusNotFound)
	case err != nil:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p) // the client has gone
	}
}
