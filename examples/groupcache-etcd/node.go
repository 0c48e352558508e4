package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/dnspeers"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

// node is this process among the others.
type node struct {
	options   options
	network   *grpcpeer.Network
	cache     *groupcache.Instance
	users     *groupcache.Group
	discovery discovery
	served    chan error
}

// discovery keeps the cache's peers up to date.
type discovery interface {
	io.Closer
	prometheus.Collector
}

// startNode makes the cache, answers the other nodes on a listener, and finds them.
//
//nolint:contextcheck // serving ends by stop
func startNode(ctx context.Context, o options, peers net.Listener) (*node, error) {
	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		return nil, err
	}
	cache, err := groupcache.New(groupcache.Options{
		Self:    o.self,
		Network: network,
		Ring:    groupcache.Rendezvous, // gives all nodes the same share
		HashFn:  xxhash.Sum64,
	})
	if err != nil {
		return nil, err
	}
	users, err := cache.NewGroup("users", 64<<20, groupcache.GetterFunc(load))
	if err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	n := &node{options: o, network: network, cache: cache, users: users, served: make(chan error, 1)}
	go func() { n.served <- network.Serve(peers) }()
	if n.discovery, err = discover(ctx, o, cache); err != nil {
		return nil, errors.Join(err, n.stop(ctx))
	}
	return n, nil
}

// discover finds the other nodes. Without an answer in five seconds the node starts alone, and goes
// on asking.
func discover(ctx context.Context, o options, cache *groupcache.Instance) (discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if o.dns != "" {
		port, err := portOf(o.self)
		if err != nil {
			return nil, err
		}
		return dnspeers.Watch(ctx, cache, o.dns, dnspeers.Options{Port: port, Scheme: "none"})
	}
	etcd := etcdpeers.Options{Self: o.self}
	if o.etcd != "" {
		etcd.Endpoints = strings.Split(o.etcd, ",")
	}
	return etcdpeers.Watch(ctx, cache, "groupcache-example", etcd)
}

// leave hands over the keys read most, leaves the lists of the others, and gives them time to ask
// for the rest.
func (n *node) leave(ctx context.Context) error {
	err := errors.Join(n.cache.Drain(ctx), n.discovery.Close())
	select {
	case <-time.After(n.options.grace):
	case <-ctx.Done():
	}
	return err
}

// stop ends requests of the others, and the cache.
func (n *node) stop(ctx context.Context) error {
	return errors.Join(n.network.Shutdown(ctx), <-n.served, n.cache.Close())
}

// handler is the service that uses the cache.
func (n *node) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(n.cache, n.discovery)
	mux := http.NewServeMux()
	mux.Handle("/debug/groupcache", n.cache.DebugHandler())
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /user/{id}", func(w http.ResponseWriter, r *http.Request) {
		user, err := n.users.View(r.Context(), r.PathValue("id"))
		switch {
		case errors.Is(err, &groupcache.ErrNotFound{}):
			http.Error(w, err.Error(), http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadGateway)
		default:
			_, _ = user.WriteTo(w) // the client has gone: there is nobody to tell
		}
	})
	mux.HandleFunc("DELETE /user/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := n.users.Remove(r.Context(), r.PathValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	return mux
}

// load stands for a slow database.
func load(ctx context.Context, id string, dest groupcache.Sink) error {
	select {
	case <-time.After(500 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	if id == "0" {
		return &groupcache.ErrNotFound{Msg: "no user 0"}
	}
	log.Printf("loaded user %q from the database", id)
	return dest.SetString(fmt.Sprintf("user %s, loaded at %s\n", id, time.Now().Format(time.TimeOnly)), time.Now().Add(time.Minute))
}
