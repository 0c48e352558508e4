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
	store, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "points"})
	if err != nil {
		fmt.Println(err)
		return
	}
	load := func(_ context.Context, user int, _ int64) (int64, error) { return int64(user) * 100, nil }
	points, err := autorefresh.New(load, autorefresh.Options[int, int64]{Period: time.Minute, Store: store, ShieldRate: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = points.Close() }()

	got, err := points.Load(context.Background(), 42)
	fmt.Println(got, err)
	// Output: 4200 <nil>
}
