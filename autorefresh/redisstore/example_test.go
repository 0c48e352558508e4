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
	store, err := redisstore.New(client, redisstore.Options{Primary: "mymaster", Namespace: "points"})
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

	got, err := points.Load(ctx, 42)
	fmt.Println(got, err)
	// Output: 4200 <nil>
}
