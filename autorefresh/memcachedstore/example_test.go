package memcachedstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func Example() {
	server, err := testutil.NewFake(testutil.FakeOptions{}) // stands in for memcached
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Close() }()

	client := memcache.New(server.Addr())
	defer func() { _ = client.Close() }()
	store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "users"})
	if err != nil {
		fmt.Println(err)
		return
	}
	load := func(_ context.Context, id int, _ string) (string, error) { return fmt.Sprint("user ", id), nil }
	users, err := autorefresh.New(load, autorefresh.Options[int, string]{Period: time.Minute, Store: store, ShieldRate: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = users.Close() }()

	name, err := users.Load(context.Background(), 42)
	fmt.Println(name, err)
	// Output: user 42 <nil>
}
