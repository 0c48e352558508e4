package groupcache_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/dnspeers"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

// Code of the original: peers over HTTP on the default mux.
func ExampleNewHTTPPool() {
	pool := groupcache.NewHTTPPool("http://10.0.0.1:8080")
	pool.Set("http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080")
	log.Fatal(http.ListenAndServe(":8080", nil))
}

// Peers that DNS names, as the headless service of Kubernetes does. They prove to each other that they have the secret, on a port of their own.
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

// Peers that register in etcd.
func ExampleNew_etcd() {
	cache, err := groupcache.New(groupcache.Options{
		Self: "http://10.0.0.1:8081", Auth: groupcache.AuthRequire, Secret: []byte(os.Getenv("PEER_SECRET")),
	})
	if err != nil {
		log.Fatal(err)
	}
	peers, err := etcdpeers.Watch(context.Background(), cache, "users", etcdpeers.Options{
		Self: "10.0.0.1:8081", Scheme: "http", Endpoints: []string{"etcd-0:2379", "etcd-1:2379", "etcd-2:2379"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = peers.Close() }()
	log.Print(http.ListenAndServe(":8081", cache.Handler()))
}

// Peers over gRPC. Each proves by a certificate who it is, whether it asks or answers.
func ExampleNew_grpc() {
	certificate, err := tls.LoadX509KeyPair("peer.pem", "peer-key.pem") // for the host of Self
	if err != nil {
		log.Fatal(err)
	}
	authority := x509.NewCertPool() // that signed those of all peers
	if pem, err := os.ReadFile("peers-ca.pem"); err != nil || !authority.AppendCertsFromPEM(pem) {
		log.Fatal("no authority: ", err)
	}
	network, err := grpcpeer.New(grpcpeer.Options{
		ServerTLS: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: authority, ClientAuth: tls.RequireAndVerifyClientCert},
		ClientTLS: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: authority},
	})
	if err != nil {
		log.Fatal(err)
	}
	cache, err := groupcache.New(groupcache.Options{Self: "peer-1.internal:6324", Network: network})
	if err != nil {
		log.Fatal(err)
	}
	if err := cache.SetPeers("peer-1.internal:6324", "peer-2.internal:6324"); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", ":6324")
	if err != nil {
		log.Fatal(err)
	}
	log.Print(network.Serve(listener))
}
