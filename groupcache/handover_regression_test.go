package groupcache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// formerKeys are two keys that owner has taken over from former, which has no values of them.
func (c *cluster) formerKeys(t *testing.T, owner, former *node) []string {
	t.Helper()
	keys := []string{c.ownedBy(t, former, "one"), c.ownedBy(t, former, "two")}
	if err := owner.instance.SetPeers(owner.url); err != nil {
		t.Fatal(err)
	}
	return keys
}

// A load that a GetMulti meets while it looks for values at a former owner still ends when all have
// left.
func TestALoadThatIsMetByAHandoverIsAbandoned(t *testing.T) {
	c := startCluster(t, 2, nil)
	owner := c.nodes[0]
	keys := c.formerKeys(t, owner, c.nodes[1])
	begun, ended := make(chan struct{}), make(chan struct{})
	c.source.answer = func(ctx context.Context, key string) (string, error) {
		if key == keys[0] {
			close(begun)
			<-ctx.Done()
			close(ended)
		}
		return "v", ctx.Err()
	}
	ctx, leave := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	callers.Go(func() { _, _ = get(ctx, owner.group, keys[0]) })
	<-begun
	callers.Go(func() { _, _ = owner.group.GetMulti(ctx, keys) })
	eventually(t, "the second key is there", func() bool { return owner.group.CacheStats(groupcache.MainCache).Items == 1 })
	leave()
	callers.Wait()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("all have left, and the load goes on")
	}
}

// What is looked for at a former owner, in vain, is loaded for those, too, who wait for that.
func TestABatchThatWaitsForAHandoverLoads(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		s := newTable()
		nodes := []*node{by.node(t, s.getter(), nil), by.node(t, s.getter(), nil)}
		setPeers(t, nodes...)
		by.expect(t, nodes...)
		keys := (&cluster{nodes: nodes}).formerKeys(t, nodes[0], nodes[1])
		late := &lateness{made: make(chan struct{}), release: make(chan struct{})}
		nodes[1].late.Store(late)
		var callers sync.WaitGroup
		read := func() {
			found, err := nodes[0].group.GetMulti(t.Context(), keys)
			if err != nil {
				t.Error(err)
			}
			has(t, found, keys)
		}
		callers.Go(read)
		<-late.made
		nodes[1].late.Store(nil)
		callers.Go(read)
		time.Sleep(10 * time.Millisecond)
		close(late.release)
		callers.Wait()
		if gets, loads := nodes[0].group.Stats.Gets.Get()-nodes[0].group.Stats.CacheHits.Get(), nodes[0].group.Stats.Loads.Get(); loads != gets {
			t.Errorf("%d misses are counted as %d loads", gets, loads)
		}
	})
}

// A batch asked the last owner of its keys alone. After two changes of the peers in a row, what the
// one before still had was loaded again.
func TestABatchAsksBothFormerOwners(t *testing.T) {
	inBubbles(t, func(t *testing.T, by way) {
		cluster := by.nodesOfPipes(t, 3, func(o *groupcache.Options) { o.Ring = groupcache.HashRing })
		a, b, c := cluster.nodes[0], cluster.nodes[1], cluster.nodes[2]
		peersAre := func(list ...*node) {
			var urls []string
			for _, n := range list {
				urls = append(urls, n.url)
			}
			for _, n := range cluster.nodes {
				if err := n.instance.SetPeers(urls...); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the peers know each other", n.instance.Acquainted)
			}
		}
		ownedBy := func(n *node, keys []string) (owned []string) {
			for _, key := range keys {
				if n.instance.Owns(key) {
					owned = append(owned, key)
				}
			}
			return owned
		}
		var keys []string
		for i := range handedKeys {
			keys = append(keys, handedKey(i))
		}
		peersAre(c)
		if _, err := c.group.GetMulti(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		peersAre(b, c)
		keys = ownedBy(b, keys)
		peersAre(a, b, c)
		keys = ownedBy(a, keys)
		before := cluster.source.loads.Load()
		if _, err := a.group.GetMulti(t.Context(), keys); err != nil || len(keys) < 2 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		if n := cluster.source.loads.Load() - before; n > 0 {
			t.Errorf("%d of %d keys were loaded again", n, len(keys))
		}
	})
}
