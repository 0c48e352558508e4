package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

func Example() {
	cache, err := groupcache.New(groupcache.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = cache.Close() }()
	users, err := cache.NewGroup("users", 64<<20, groupcache.GetterFunc(
		func(_ context.Context, key string, dest groupcache.Sink) error {
			if key != "42" {
				return &groupcache.ErrNotFound{Msg: "no user " + key}
			}
			fmt.Println("loaded")
			return dest.SetString("Ada", time.Now().Add(time.Hour))
		}))
	if err != nil {
		panic(err)
	}
	for range 2 {
		user, err := users.View(context.Background(), "42")
		fmt.Println(user, err)
	}
	_, err = users.View(context.Background(), "43")
	fmt.Println(errors.Is(err, &groupcache.ErrNotFound{}), err)
	// Output:
	// loaded
	// Ada <nil>
	// Ada <nil>
	// true no user 43
}

// A process that ends hands over what it has, leaves the lists of its peers, and answers them for a
// while yet.
func ExampleInstance_Drain() {
	load := groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		fmt.Println("loaded", key)
		return dest.SetString("value", time.Time{})
	})
	start := func() (cache *groupcache.Instance, users *groupcache.Group, url string, stop func()) {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		url = "http://" + l.Addr().String()
		if cache, err = groupcache.New(groupcache.Options{Self: url}); err != nil {
			panic(err)
		}
		if users, err = cache.NewGroup("users", 1<<20, load); err != nil {
			panic(err)
		}
		server := &http.Server{Handler: cache.Handler(), ReadHeaderTimeout: time.Second}
		go func() { _ = server.Serve(l) }()
		return cache, users, url, func() { _, _ = cache.Close(), server.Close() }
	}
	old, oldUsers, oldURL, stopOld := start()
	next, nextUsers, nextURL, stopNext := start()
	defer stopNext()
	_, _ = old.SetPeers(oldURL), next.SetPeers(oldURL, nextURL)
	_, _ = oldUsers.View(context.Background(), "42")

	_ = old.SetPeers(oldURL, nextURL)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := old.Drain(ctx)
	_ = next.SetPeers(nextURL) // by discovery, as a rule
	stopOld()

	user, _ := nextUsers.View(context.Background(), "42")
	fmt.Println(user, err)
	// Output:
	// loaded 42
	// value <nil>
}

// Keys that miss together are loaded with one query, in this process and at the peers that own
// them.
func ExampleBatchGetter() {
	query := func(_ context.Context, ids []string) map[string]string { // SELECT id, name FROM users WHERE id IN (…)
		fmt.Println("query for", len(ids))
		return map[string]string{"1": "Ada", "2": "Grace"}
	}
	cache, err := groupcache.New(groupcache.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = cache.Close() }()
	users, err := cache.NewGroup("users", 64<<20, groupcache.BatchGetterFunc(
		func(ctx context.Context, ids []string, dest func(id string) groupcache.Sink) error {
			for id, name := range query(ctx, ids) {
				if err := dest(id).SetString(name, time.Now().Add(time.Hour)); err != nil {
					return err
				}
			}
			return nil // an id whose sink was given nothing does not exist
		}))
	if err != nil {
		panic(err)
	}
	found, err := users.GetMulti(context.Background(), []string{"1", "2", "3"})
	fmt.Println(found["1"], found["2"], len(found), err)
	// Output:
	// query for 3
	// Ada Grace 2 <nil>
}
