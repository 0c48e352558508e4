package etcdpeers_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
)

// A process that registers, and shares a cache with all others that have.
func Example() {
	self := "10.0.0.1:8080"
	cache, err := groupcache.New(groupcache.Options{Self: "http://" + self})
	if err != nil {
		log.Fatal(err)
	}
	peers, err := etcdpeers.Watch(context.Background(), cache, "groupcache", etcdpeers.Options{
		Self: self, Scheme: "http", Endpoints: []string{"etcd-0:2379", "etcd-1:2379", "etcd-2:2379"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := peers.Close(); err != nil { // before the server stops: the others are to leave us alone
			log.Print(err)
		}
	}()
	http.Handle("/_groupcache/", cache.Handler())
	log.Print(http.ListenAndServe(":8080", nil))
}

// Watch says why options are wrong, and what to do about it.
func ExampleWatch() {
	_, err := etcdpeers.Watch(context.Background(), printer{}, "groupcache", etcdpeers.Options{Self: ":8080"})
	fmt.Println(err)
	// Output: etcdpeers: Options.Self is ":8080": write it like 10.0.0.1:8080 or [fd00::1]:8080
}

// printer is an Instance that prints its peers.
type printer struct{}

func (printer) SetPeers(addrs ...string) error {
	fmt.Println(addrs)
	return nil
}
