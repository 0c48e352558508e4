package peer_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A list of 3 000 addresses, which discovery may bring, started 7 500 goroutines at once.
func TestAListOfThousandsIsGreetedABoundedNumberAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const n = 3000
		r := &rig{fakes: make(map[string]*fake)}
		urls := make([]string, n)
		for i := range urls {
			urls[i] = fmt.Sprint("http://peer", i)
			r.fakes[urls[i]] = &fake{get: found, probe: func() (wire.Greeting, error) {
				time.Sleep(time.Second)
				return ours()
			}}
		}
		pool := peer.NewPool(self, rings, peer.Options{
			Name: "test", Dial: func(url string) wire.Transport { return r.fakes[url] },
			Timeout: time.Second, Silence: time.Second, MaxInFlight: 10, ProbeTimeout: time.Second,
			Backoff: func(error, int) time.Duration { return time.Second },
		})
		before := runtime.NumGoroutine()
		if err := pool.Set(urls); err != nil {
			t.Fatal(err)
		}
		if more := runtime.NumGoroutine() - before; more > 600 {
			t.Errorf("%d goroutines more", more)
		}
		time.Sleep(time.Minute)
		for _, p := range pool.Peers() {
			if !p.Marked() {
				t.Fatalf("%s has not been greeted", p.URL())
			}
			if _, err := p.Get(context.Background(), "g", "k"); err != nil {
				t.Fatal(err)
			}
		}
		if err := pool.Set(urls[:1]); err != nil {
			t.Error(err)
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Those that greet peers ended with a transport that ended their goroutine, and were counted
// nevertheless: with none left nobody was greeted any more.
func TestGreetingsThatEndTheirGoroutineKeepNobodyFromBeingGreeted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const bad, n = 600, 700
		r := &rig{fakes: make(map[string]*fake)}
		urls := make([]string, n)
		for i := range urls {
			urls[i] = fmt.Sprint("http://peer", i)
			f := &fake{get: found, probe: ours}
			if i < bad {
				f.probe = func() (wire.Greeting, error) { runtime.Goexit(); return ours() }
			}
			r.fakes[urls[i]] = f
		}
		pool := peer.NewPool(self, rings, peer.Options{
			Name: "test", Dial: func(url string) wire.Transport { return r.fakes[url] },
			Timeout: time.Second, Silence: time.Second, MaxInFlight: 10, ProbeTimeout: time.Second,
			Backoff: func(error, int) time.Duration { return time.Second },
		})
		if err := pool.Set(urls); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for i, p := range pool.Peers() {
			if i >= bad && !p.Marked() {
				t.Fatalf("%s has not been greeted", p.URL())
			}
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
}
