package groupcache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// The owner takes long, and the next peer on the ring has the value from a time when the owner was
// away.
func TestAHedgeAsksACache(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 3, func(o *groupcache.Options) { o.Silence = 10 * time.Second })
		owner := c.nodes[0]
		for i := range 100 { // it gets known
			if _, err := get(t.Context(), c.nodes[1].group, c.ownedBy(t, owner, "known", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		key := ""
		var asker, next *node
		for i := 0; key == ""; i++ {
			k := fmt.Sprint("hedged ", i)
			for _, pair := range [][2]*node{{c.nodes[1], c.nodes[2]}, {c.nodes[2], c.nodes[1]}} {
				if ranks := pair[0].instance.Ranks(k); ranks[0] == owner.url && ranks[1] == pair[1].url && pair[0] == c.nodes[1] {
					key, asker, next = k, pair[0], pair[1]
				}
			}
		}
		next.group.Keep(key, "from the cache of the next")
		asker.group.GrantHedges() // on a busy machine the slow ones of those before have used it up
		owner.hung.Store(true)
		began := time.Now()
		v, err := get(t.Context(), asker.group, key)
		if took := time.Since(began); v != "from the cache of the next" || err != nil || took > 5*time.Second {
			t.Errorf("%q, %v after %v", v, err, took)
		}
		if loads := c.source.byKey[key]; loads != 0 {
			t.Errorf("%d loads", loads)
		}
		if up := asker.instance.PeersUp(); up != 2 {
			t.Errorf("%d peers are up: a hedge is not the owner's fault", up)
		}
	})
}
