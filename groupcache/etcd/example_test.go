package etcd_test

import (
	"crypto/tls"
	"fmt"
	"log"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/etcd"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

// A server, which finds the others through etcd, and a group that shares its values with them.
func Example() {
	server, err := etcd.NewServer("10.0.0.1:6324")
	if err != nil {
		log.Fatal(err)
	}
	users := etcd.NewGroup("users", 64<<20, etcd.RetrieveFunc(func(key string) ([]byte, error) {
		return []byte("user " + key), nil // from a database
	}))
	users.RegisterServer(server)
	go func() {
		if err := server.Start(); err != nil {
			log.Print(err)
		}
	}()
	v, err := users.Get("42")
	fmt.Println(v, err)
	server.Stop()
}

// Without a server a group works alone.
func ExampleNewGroup() {
	squares := etcd.NewGroup("squares", 1<<20, etcd.RetrieveFunc(func(key string) ([]byte, error) {
		return []byte(key + "²"), nil
	}))
	fmt.Println(squares.Get("7"))
	etcd.DestroyGroup("squares")
	// Output: 7² <nil>
}

// An etcd that asks for a password over TLS, and peers that prove themselves by certificates.
func ExampleNewServerWith() {
	ours := &tls.Config{} // with Certificates, RootCAs, ClientCAs and ClientAuth
	server, err := etcd.NewServerWith("cache-0.cache:6324", etcd.Options{
		Listen:    "0.0.0.0:6324",
		Endpoints: []string{"https://etcd-0:2379", "https://etcd-1:2379", "https://etcd-2:2379"},
		Username:  "cache", Password: "from a secret",
		TLS:   &tls.Config{},
		TTL:   5 * time.Second,
		Peers: grpcpeer.Options{ServerTLS: ours, ClientTLS: ours},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.Addr, server.Running())
	_ = server.Close()
	// Output: cache-0.cache:6324 false
}

// Without etcd the peers are those of a list that all are given.
func ExampleServer_SetPeers() {
	server, err := etcd.NewServer("10.0.0.1:6324")
	if err != nil {
		log.Fatal(err)
	}
	server.SetPeers([]string{"10.0.0.1:6324", "10.0.0.2:6324", "10.0.0.3:6324"})
	_, elsewhere := server.Pick("a key of somebody else's")
	fmt.Println(elsewhere)
	_ = server.Close()
}

// owners is a Picker of the caller's: whatever says who has a key.
type owners struct{}

// Pick implements etcd.Picker.
func (owners) Pick(key string) (etcd.Fetcher, bool) {
	if key == "here" {
		return nil, false
	}
	return etcd.NewClient("groupcache/10.0.0.2:6324"), true
}

func ExampleGroup_RegisterServer_picker() {
	g := etcd.NewGroup("picked", 1<<20, etcd.RetrieveFunc(func(key string) ([]byte, error) { return []byte("loaded " + key), nil }))
	g.RegisterServer(owners{})
	fmt.Println(g.Get("here"))
	etcd.DestroyGroup("picked")
	// Output: loaded here <nil>
}
