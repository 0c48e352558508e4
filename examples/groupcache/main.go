// Command groupcache is one node of three that share a cache. Start it three times, as README.md
// says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-go/holdfast/groupcache"
)

// secretEnv names the variable with the secret that all nodes share: all who know it may ask for
// any key, set it and remove it.
const secretEnv = "PEER_SECRET"

func main() {
	listen := flag.String("listen", "127.0.0.1:8081", "the address at which this node serves users")
	self := flag.String("self", "127.0.0.1:9081", "the address at which this node serves its peers, and nobody else")
	peers := flag.String("peers", "127.0.0.1:9081,127.0.0.1:9082,127.0.0.1:9083", "the addresses of all nodes for their peers")
	flag.Parse()
	if err := run(*listen, *self, strings.Split(*peers, ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(listen, self string, peers []string) error {
	secret := os.Getenv(secretEnv)
	if secret == "" {
		return fmt.Errorf("%s is not set: give all nodes the same secret of 16 bytes or more", secretEnv)
	}
	n, err := newNode(self, peers, []byte(secret))
	if err != nil {
		return err
	}
	defer func() { _ = n.cache.Close() }()
	log.Printf("http://%s/user/42, /debug/groupcache, /metrics", listen)
	failed := make(chan error, 2)
	for addr, handler := range map[string]http.Handler{listen: n.users, self: n.peers} {
		go func() {
			failed <- (&http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
		}()
	}
	return <-failed
}

// node is the cache of one node, and what it serves.
type node struct {
	cache        *groupcache.Instance
	users, peers http.Handler
}

func newNode(self string, peers []string, secret []byte) (*node, error) {
	cache, err := groupcache.New(groupcache.Options{
		Self:   "http://" + self,
		Auth:   groupcache.AuthRequire, // peers prove who they are
		Secret: secret,
		HashFn: xxhash.Sum64, // spreads keys that are alike; the default is the hash of the original's clusters
	})
	if err != nil {
		return nil, err
	}
	users, err := cache.NewGroup("users", 64<<20, groupcache.GetterFunc(load))
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, peer := range peers {
		urls = append(urls, "http://"+peer)
	}
	if err := cache.SetPeers(urls...); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(cache); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/debug/groupcache", cache.DebugHandler())
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /user/{id}", func(w http.ResponseWriter, r *http.Request) {
		user, err := users.View(r.Context(), r.PathValue("id"))
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
		if err := users.Remove(r.Context(), r.PathValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	return &node{cache: cache, users: mux, peers: cache.Handler()}, nil
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
