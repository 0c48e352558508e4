package route_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// greeter is a transport to a peer that is only greeted, and answers after a while.
type greeter struct {
	wire.Transport
	ours  bool
	after time.Duration
}

func (g greeter) Probe(context.Context) (wire.Greeting, error) {
	time.Sleep(g.after)
	return wire.Greeting{Marked: g.ours}, nil
}

func (greeter) Explore(context.Context) wire.Way { return wire.Way{Sure: true} }

func (greeter) Close() {}

// listed is a ring on which the peers own all keys in their order.
type listed []string

func (l listed) Owners(dst []string, _ string, n int) []string {
	return append(dst, l[:min(n, len(l))]...)
}

// A process that has just begun told a stand-in of a write at the same time as those that ask it,
// if the stand-in had not answered its greeting yet. One of these got the old value again, and kept
// it.
func TestAWriteReachesStandInsThatWereNotGreetedYetInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		greeters := map[string]greeter{"a": {ours: true}, "slow": {ours: true, after: time.Second}, "old": {}, "b": {ours: true}}
		pool := peer.NewPool("self", peer.Rings{Plain: func(urls []string) peer.Ring { return listed(urls) }}, peer.Options{
			Name: "test", Dial: func(url string) wire.Transport { return greeters[url] },
			Timeout: time.Second, Silence: time.Second, MaxInFlight: 10, ProbeTimeout: time.Second,
			Backoff: func(error, int) time.Duration { return time.Second },
		})
		defer pool.Close() //nolint:errcheck // nothing can go wrong
		if err := pool.Set([]string{"a", "slow", "old", "b"}); err != nil {
			t.Fatal(err)
		}
		router := route.Ours(pool)
		for _, c := range []struct {
			after      time.Duration
			asks, tell []string
		}{
			{0, []string{"a"}, []string{"a", "slow"}},
			{time.Minute, []string{"a", "slow"}, []string{"a", "slow"}},
		} {
			time.Sleep(c.after)
			synctest.Wait()
			var asks, told []string
			for _, r := range router.Owners("k") {
				asks = append(asks, r.URL())
			}
			for _, target := range router.All("g", "k") {
				if target.InOrder && !target.Here() {
					told = append(told, target.URL())
				}
			}
			if !slices.Equal(asks, c.asks) || !slices.Equal(told, c.tell) {
				t.Errorf("after %v it asks %q and tells %q in their order, want %q and %q", c.after, asks, told, c.asks, c.tell)
			}
		}
	})
}
