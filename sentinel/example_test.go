package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// demo stands in for the servers and sentinels of these examples: they live in this process.
func demo() (*redis.FakeCluster, sentinel.Endpoint) {
	cluster := redis.NewFakeNet().Cluster(redis.FakeClusterOptions{Name: "bucket0"})
	return cluster, sentinel.Endpoint{Dial: cluster.Net.Dial}
}

func Example() {
	cluster, reach := demo()
	defer func() { _ = cluster.Net.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	c, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{"bucket0"}, Server: reach, Sentinel: reach})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	if err := c.Do(ctx, "bucket0", radix.Cmd(nil, "SET", "user:1", "Ada")); err != nil {
		fmt.Println(err)
	}
	var name string
	err = c.Do(ctx, "bucket0", radix.Cmd(&name, "GET", "user:1"))
	switch {
	case errors.Is(err, sentinel.ErrNotSent): // no primary, or a failover: safe to try again
	case errors.Is(err, sentinel.ErrOutcomeUnknown): // it may have been carried out
	}
	fmt.Println(name, err)
	// Output: Ada <nil>
}

func ExampleClient_Primary() {
	cluster, reach := demo()
	defer func() { _ = cluster.Net.Close() }()
	ctx := context.Background()
	c, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{"bucket0"}, Server: reach, Sentinel: reach})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	client := c.Primary("bucket0") // for code that takes one
	p := radix.NewPipeline()
	var first, second string
	p.Append(radix.Cmd(nil, "SET", "a", "1"))
	p.Append(radix.Cmd(&first, "GET", "a"))
	p.Append(radix.Cmd(&second, "ECHO", "2"))
	err = client.Do(ctx, p)
	fmt.Println(first, second, err)
	// Output: 1 2 <nil>
}

func ExampleClient_Exclusive() {
	cluster, reach := demo()
	defer func() { _ = cluster.Net.Close() }()
	ctx := context.Background()
	c, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{"bucket0"}, Server: reach, Sentinel: reach})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	var result []string
	err = c.Exclusive(ctx, "bucket0", func(conn radix.Conn) error {
		var n int
		if err := conn.Do(ctx, radix.Cmd(nil, "WATCH", "n")); err != nil {
			return err
		}
		if err := conn.Do(ctx, radix.Cmd(&n, "GET", "n")); err != nil {
			return err
		}
		p := radix.NewPipeline()
		p.Append(radix.Cmd(nil, "MULTI"))
		p.Append(radix.FlatCmd(nil, "SET", "n", n+1))
		p.Append(radix.Cmd(&result, "EXEC")) // empty if somebody else changed n
		return conn.Do(ctx, p)
	})
	fmt.Println(result, err)
	// Output: [OK] <nil>
}

func ExampleClient_GetMaster() {
	cluster, reach := demo()
	defer func() { _ = cluster.Net.Close() }()
	c, err := sentinel.New(context.Background(), cluster.SentinelAddrs(), sentinel.Options{Names: []string{"bucket0"}, Server: reach, Sentinel: reach})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	conn, redisErr := c.GetMaster("bucket0")
	if redisErr != nil {
		fmt.Println(redisErr)
		return
	}
	defer c.CarefullyPutMaster("bucket0", conn, &redisErr)
	var i int
	if redisErr = conn.Cmd("SET", "foo", 1).Err; redisErr != nil {
		return
	}
	i, redisErr = conn.Cmd("GET", "foo").Int()
	fmt.Println(i, redisErr)
	// Output: 1 <nil>
}

func ExampleClient_Subscribe() {
	cluster, reach := demo()
	defer func() { _ = cluster.Net.Close() }()
	ctx := context.Background()
	c, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{"bucket0"}, Server: reach, Sentinel: reach})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	news, err := c.Subscribe(ctx, "bucket0", "news")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = news.Close() }()
	if err := c.Do(ctx, "bucket0", radix.Cmd(nil, "PUBLISH", "news", "hello")); err != nil {
		fmt.Println(err)
	}
	m, err := news.Next(ctx)
	if m.Resubscribed {
		fmt.Println("messages may be missing")
	}
	fmt.Println(string(m.Payload), err)
	// Output: hello <nil>
}

func ExampleNewClient() {
	// Nobody listens there: the error says so, and that the sentinels are the reason.
	_, err := sentinel.NewClient("tcp", "127.0.0.1:1", 100, "bucket0", "bucket1")
	var ce *sentinel.ClientError
	fmt.Println(errors.As(err, &ce), ce.SentinelErr, errors.Is(err, sentinel.ErrNoSentinel))
	// Output: true true true
}

func ExampleClient_DoDurable() {
	cluster, reach := demo()
	defer func() { _ = cluster.Net.Close() }()
	ctx := context.Background()
	c, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{Names: []string{"bucket0"}, Server: reach, Sentinel: reach})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	d, err := c.DoDurable(ctx, "bucket0", 1, 5*time.Second, radix.Cmd(nil, "SET", "order:7", "paid"))
	switch {
	case errors.Is(err, sentinel.ErrNotDurable): // it was carried out, and d.Replicas are known to have it
	case errors.Is(err, sentinel.ErrNotSent): // safe to try again
	}
	fmt.Println(d.Replicas > 0, err)
	// Output: true <nil>
}
