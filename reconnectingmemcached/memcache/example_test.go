package memcache_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func loadFromDatabase(key string) string { return "value of " + key }

// Only the import line differs from code for gomemcache. Here no server listens, so every read
// falls back.
func Example() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	mc := memcache.New(filepath.Join(folder, "memcached.sock"))
	defer func() { _ = mc.Close() }()

	read := func(key string) string {
		if it, err := mc.Get(key); err == nil {
			return string(it.Value)
		}
		value := loadFromDatabase(key) // a miss, or no server: at once either way
		_ = mc.Set(&memcache.Item{Key: key, Value: []byte(value), Expiration: 60})
		return value
	}
	fmt.Println(read("user:7"))
	// Output: value of user:7
}

func ExampleNewWithOptions() {
	mc, err := memcache.NewWithOptions(nil, memcache.Options{
		Name:    "users",
		Servers: []string{"cache-1.internal:11211", "cache-2.internal:11211"},
		Timeout: 200 * time.Millisecond,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = mc.Close() }()
	if err := prometheus.NewRegistry().Register(mc); err != nil {
		fmt.Println(err)
	}
	fmt.Println(mc.Available())
	// Output: true
}

func ExampleClient_Reporting() {
	mc := memcache.New("unix/socket/that/is/not/there")
	defer func() { _ = mc.Close() }()

	_, err := mc.Get("k")
	fmt.Println(errors.Is(err, memcache.ErrCacheMiss))
	_, err = mc.Reporting().Get("k")
	fmt.Println(errors.Is(err, memcache.ErrServerDown))
	// Output:
	// true
	// true
}

func ExampleServerDownError() {
	mc := memcache.New("unix/socket/that/is/not/there")
	defer func() { _ = mc.Close() }()

	var down *memcache.ServerDownError
	if err := mc.Delete("k"); errors.As(err, &down) {
		fmt.Println(down.Addr, down.Op, "sent:", down.Sent)
	}
	// Output: unix/socket/that/is/not/there delete sent: false
}
