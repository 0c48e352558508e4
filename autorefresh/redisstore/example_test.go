package redisstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func Example() {
	cluster := redis.NewFakeNet().Cluster(redis.FakeClusterOptions{}) // stands in for servers and sentinels
	defer func() { _ = cluster.Net.Close() }()
	reach := sentinel.Endpoint{Dial: cluster.Net.Dial}

	ctx := context.Background()
	client, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{"mymaster"}, Server: reach, Sentinel: reach})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	store, err := redisstore.New(client, redisstore.Options{Primary: "mymaster", Namespace: "users"})
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

	name, err := users.Load(ctx, 42)
	fmt.Println(name, err)
	// Output: user 42 <nil>
}
