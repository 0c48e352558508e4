package groupcache_test

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/dnspeers"
)

// Code of the original: peers over HTTP on the default mux.
func ExampleNewHTTPPool() {
	pool := groupcache.NewHTTPPool("http://10.0.0.1:8080")
	pool.Set("http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080")
	log.Fatal(http.ListenAndServe(":8080", nil))
}

// Peers that DNS names, as the headless service of Kubernetes does. They prove to each other that
// they have the secret, on a port of their own.
func ExampleNew_dns() {
	cache, err := groupcache.New(groupcache.Options{
		Self: "http://" + os.Getenv("POD_IP") + ":8081",
		Auth: groupcache.AuthRequire, Secret: []byte(os.Getenv("PEER_SECRET")),
	})
	if err != nil {
		log.Fatal(err)
	}
	peers, err := dnspeers.Watch(context.Background(), cache, "users.default.svc.cluster.local", dnspeers.Options{Port: 8081})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = peers.Close() }()
	log.Print(http.ListenAndServe(":8081", cache.Handler()))
}
