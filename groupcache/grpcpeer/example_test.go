package grpcpeer_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

// Two peers, which would be two processes: the second gets from the first what that has loaded.
func Example() {
	users := groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		return dest.SetString("user "+key, time.Time{})
	})
	start := func() (*grpcpeer.Network, *groupcache.Instance, string) {
		network, err := grpcpeer.New(grpcpeer.Options{})
		if err != nil {
			log.Fatal(err)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		self := listener.Addr().String()
		cache, err := groupcache.New(groupcache.Options{Self: self, Network: network})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := cache.NewGroup("users", 64<<20, users); err != nil {
			log.Fatal(err)
		}
		go func() { _ = network.Serve(listener) }()
		return network, cache, self
	}
	network1, cache1, addr1 := start()
	network2, cache2, addr2 := start()
	if err := cache1.SetPeers(addr1, addr2); err != nil {
		log.Fatal(err)
	}
	if err := cache2.SetPeers(addr1, addr2); err != nil {
		log.Fatal(err)
	}
	v, err := cache2.Group("users").View(context.Background(), "42")
	fmt.Println(v, err)
	for _, n := range []*grpcpeer.Network{network1, network2} {
		_ = n.Shutdown(context.Background())
	}
	_, _ = cache1.Close(), cache2.Close()
	// Output: user 42 <nil>
}

// Peers that prove who they are by certificates, both ways.
func ExampleNew_mutualTLS() {
	var certificate tls.Certificate // of this process, for the host of its address
	authority := x509.NewCertPool() // that signed those of all peers
	network, err := grpcpeer.New(grpcpeer.Options{
		ServerTLS: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: authority, ClientAuth: tls.RequireAndVerifyClientCert},
		ClientTLS: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: authority},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = network.Close()
}

// secret is what peers prove themselves with.
type secret string

func (s secret) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(s)}, nil
}

func (secret) RequireTransportSecurity() bool { return false } // true in real life, with ClientTLS

// Peers that prove who they are by a secret.
func ExampleNew_secret() {
	const shared = "at least sixteen random bytes"
	network, err := grpcpeer.New(grpcpeer.Options{
		PerRPC: secret(shared),
		Authorize: func(ctx context.Context, _ string) error {
			md, _ := metadata.FromIncomingContext(ctx)
			if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+shared {
				return status.Error(codes.Unauthenticated, "the secret is wrong")
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = network.Close()
}

// A program that has a gRPC server already lets it answer peers, too.
func ExampleNetwork_Register() {
	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20)) // values that peers Set
	network.Register(server)
	for name := range server.GetServiceInfo() {
		if name == "groupcachepb.GroupCache" {
			fmt.Println(name)
		}
	}
	_ = network.Close()
	// Output: groupcachepb.GroupCache
}

// An end that no caller of a peer notices.
func ExampleNetwork_Shutdown() {
	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	cache, err := groupcache.New(groupcache.Options{Self: "127.0.0.1:6324", Network: network})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(cache.Drain(ctx))      // hands over the most read values; then leave the peers' lists
	fmt.Println(network.Shutdown(ctx)) // answers the requests under way
	fmt.Println(cache.Close())
	// Output:
	// <nil>
	// <nil>
	// <nil>
}
