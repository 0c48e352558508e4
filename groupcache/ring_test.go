package groupcache_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// Sixty keys that differ in their last characters were all at one of three peers.
func TestKeysThatAreAlikeHaveSeveralOwners(t *testing.T) {
	c := startCluster(t, 3, patient)
	for _, n := range c.nodes {
		if got := n.instance.Debug().Ring; got != "even" {
			t.Errorf("the ring is %q, want even", got)
		}
		owned := 0
		for i := range 60 {
			if n.instance.Owns(fmt.Sprint("k", i)) {
				owned++
			}
		}
		if owned < 1 || owned > 50 { // 20 ± 5, as the ports are chance; the plain ring gives all to one
			t.Errorf("%s owns %d of 60 keys", n.url, owned)
		}
	}
}

// A cluster that has begun with peers that cannot use the even ring changes to it when the last of
// them is replaced, each process in its own time. Nothing is loaded again.
func TestTheChangeToTheEvenRingLoadsNothingTwice(t *testing.T) {
	inBubbles(t, func(t *testing.T, by way) {
		var old atomic.Bool
		old.Store(true)
		c := by.nodesOfPipes(t, 3, nil)
		nodes, source := c.nodes, c.source
		for _, n := range nodes {
			n.behind(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if old.Load() {
						w = noRing{w}
					}
					h.ServeHTTP(w, r)
				})
			})
		}
		var urls []string
		for _, n := range nodes {
			urls = append(urls, n.url)
		}
		for _, n := range nodes {
			if err := n.instance.SetPeers(urls...); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "they know each other", func() bool {
			for _, n := range nodes {
				for _, p := range n.instance.Debug().Peers {
					if !p.Self && (!p.Ours || p.State != "closed") || n.instance.Debug().Ring != "hash" {
						return false
					}
				}
			}
			return true
		})
		by.expect(t, nodes...)
		old.Store(false)
		readAll(t, nodes[0], nodes[1])
		loaded := source.loads.Load()
		for _, n := range nodes {
			c.withoutHot(t)
			n.instance.GreetAgain()
			eventually(t, "it uses the even ring", n.instance.Acquainted)
			readAll(t, nodes...)
		}
		if again := source.loads.Load() - loaded; again > 0 {
			t.Errorf("%d of %d keys were loaded again", again, handedKeys)
		}
	})
}

// noRing hides what a peer says of its ring.
type noRing struct{ http.ResponseWriter }

func (n noRing) WriteHeader(status int) {
	n.Header().Del("X-Holdfast-Ring")
	n.Header().Del("X-Holdfast-Ring-Used")
	n.ResponseWriter.WriteHeader(status)
}

func (n noRing) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// Processes that begin together load what they are asked for at once, before they know each other,
// but once, although nothing is handed over.
func TestProcessesThatBeginTogetherLoadOnce(t *testing.T) {
	inBubbles(t, func(t *testing.T, by way) {
		c := by.nodesOfPipes(t, 3, func(o *groupcache.Options) { o.Handover = -1 })
		var urls []string
		for _, n := range c.nodes {
			urls = append(urls, n.url)
		}
		for _, n := range c.nodes {
			if err := n.instance.SetPeers(urls...); err != nil {
				t.Fatal(err)
			}
		}
		readAll(t, c.nodes...)
		if n := c.source.loads.Load(); n != handedKeys {
			t.Errorf("%d loads of %d keys", n, handedKeys)
		}
	})
}

// One of the peers does not answer: a Get waits for it for a moment only.
func TestAProcessThatBeginsDoesNotWaitLong(t *testing.T) {
	source := newSource()
	n, hung := startNode(t, source, byHTTP(hasty)), startNode(t, source, byHTTP(hasty))
	hung.hung.Store(true)
	if err := n.instance.SetPeers(n.url, hung.url); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := get(t.Context(), n.group, "key"); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if groupcache.EvenRing != 0 {
		t.Error("the default ring is another one")
	}
}
