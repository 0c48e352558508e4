package memcache_test

import (
	"testing"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// twentyBytes is a key of usual length.
const twentyBytes = "user:profile:1234567"

// downClient returns a client of three servers, all down.
func downClient(b testing.TB) *memcache.Client {
	addrs := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	c := newClient(b, memcache.Options{Timeout: memcache.DefaultTimeout, Servers: addrs})
	_, _ = c.Owner(twentyBytes)
	for _, addr := range addrs {
		c.ForceDown(addr)
	}
	return c
}

// BenchmarkFailFast is a Get whose server is down, choice of three servers and metrics included;
// beside it, gomemcache's choice of a server alone.
func BenchmarkFailFast(b *testing.B) {
	b.Run("Get", func(b *testing.B) {
		c := downClient(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Get(twentyBytes); err != memcache.ErrCacheMiss { //nolint:errorlint // the hot path.
				b.Fatal(err)
			}
		}
	})
	b.Run("Get-parallel", func(b *testing.B) {
		c := downClient(b)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = c.Get(twentyBytes)
			}
		})
	})
	b.Run("gomemcache-PickServer", func(b *testing.B) {
		list := new(gomemcache.ServerList)
		if err := list.SetServers("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := list.PickServer(twentyBytes); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkChoose is the choice of a server, without and with a gutter. What a healthy call pays
// beyond it is BenchmarkGuard of internal/server.
func BenchmarkChoose(b *testing.B) {
	o := memcache.Options{Timeout: memcache.DefaultTimeout, Servers: []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}}
	plain := newClient(b, o)
	o.Gutter = memcache.Gutter{Expiration: time.Minute, Beacon: -1} // no server is there to be told
	guttered := newClient(b, o)
	for name, c := range map[string]*memcache.Client{"plain": plain, "gutter": guttered} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Choose(twentyBytes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
