package groupcache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/groupcache"
)

// In virtual time: a busy machine may keep an answer for longer than a load waits for it.
func TestDrainHandsOver(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		synctest.Test(t, func(t *testing.T) {
			c := by.clusterOfPipes(t, 3)
			readAll(t, c.nodes...)
			if n := c.source.loads.Load(); n != handedKeys {
				t.Fatalf("%d loads of %d keys at first", n, handedKeys)
			}
			c.withoutHot(t)
			if err := c.nodes[2].instance.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.nodes[2].kill()
			setPeers(t, c.nodes[:2]...)
			readAll(t, c.nodes[:2]...)
			if n := c.source.loads.Load(); n != handedKeys {
				t.Errorf("%d loads of %d keys: what was drained was loaded again", n, handedKeys)
			}
		})
	})
}

func TestDrainOfLargeValues(t *testing.T) {
	const size = 100_000 // two of them fill an answer
	c := startCluster(t, 2, func(o *groupcache.Options) { o.MaxValueSize = 1 << 20 })
	want := string(make([]byte, size))
	c.source.answer = func(context.Context, string) (string, error) { return want, nil }
	var keys []string
	for i := 0; len(keys) < 5; i++ {
		if key := handedKey(i); c.nodes[1].instance.Owns(key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if _, err := get(t.Context(), c.nodes[1].group, key); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.nodes[1].instance.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.nodes[0].group.CacheStats(groupcache.MainCache).Items; got != int64(len(keys)) {
		t.Errorf("%d of %d large values arrived", got, len(keys))
	}
}

func TestDrainThatCannotHandOver(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		t.Run("nobody is there", func(t *testing.T) {
			c := by.cluster(t, 2, nil)
			readAll(t, c.nodes...)
			c.nodes[0].kill()
			if err := c.nodes[1].instance.Drain(t.Context()); !errors.Is(err, groupcache.ErrPeerUnavailable) {
				t.Errorf("%v, want %v", err, groupcache.ErrPeerUnavailable)
			}
		})
		t.Run("no time", func(t *testing.T) {
			c := by.cluster(t, 2, nil)
			readAll(t, c.nodes...)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.nodes[1].instance.Drain(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want %v", err, context.Canceled)
			}
		})
		t.Run("alone", func(t *testing.T) {
			c := startCluster(t, 1, nil)
			readAll(t, c.nodes...)
			if err := c.nodes[0].instance.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		})
		t.Run("closed", func(t *testing.T) {
			c := startCluster(t, 1, nil)
			_ = c.nodes[0].instance.Close()
			if err := c.nodes[0].instance.Drain(t.Context()); !errors.Is(err, groupcache.ErrClosed) {
				t.Errorf("%v, want %v", err, groupcache.ErrClosed)
			}
		})
		for what, adapt := range map[string]func(*groupcache.Options){
			"Set tells the owner only": func(o *groupcache.Options) { o.SetOwnerOnly = true },
			"handover is off":          func(o *groupcache.Options) { o.Handover = -1 },
		} {
			t.Run(what, func(t *testing.T) {
				c := startCluster(t, 2, adapt)
				readAll(t, c.nodes[1])
				before := c.nodes[0].group.CacheStats(groupcache.MainCache).Items
				if err := c.nodes[1].instance.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				if after := c.nodes[0].group.CacheStats(groupcache.MainCache).Items; after != before {
					t.Errorf("%d values, then %d: something was handed over", before, after)
				}
			})
		}
	})
}

func TestOffersOfStrangersAreRefused(t *testing.T) {
	c := startCluster(t, 2, patient)
	stranger := startNode(t, c.source, patient)
	if err := stranger.instance.SetPeers(stranger.url, c.nodes[0].url); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they know each other", stranger.instance.Acquainted)
	readAll(t, stranger)
	before := c.nodes[0].group.CacheStats(groupcache.MainCache).Items
	if err := stranger.instance.Drain(t.Context()); !errors.Is(err, groupcache.ErrPeerUnavailable) {
		t.Errorf("%v, want %v", err, groupcache.ErrPeerUnavailable)
	}
	if after := c.nodes[0].group.CacheStats(groupcache.MainCache).Items; after != before {
		t.Errorf("%d values, then %d", before, after)
	}
}
