package groupcache_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

const handedKeys = 300

func handedKey(i int) string { return fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)})) }

// readAll gets all keys at each of the nodes.
func readAll(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		for i := range handedKeys {
			if v, err := get(t.Context(), n.group, handedKey(i)); err != nil || v != "value of "+handedKey(i) {
				t.Fatalf("%q, %v", v, err)
			}
		}
	}
}

// setPeers tells the nodes that they are peers.
func setPeers(t *testing.T, nodes ...*node) {
	t.Helper()
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.url)
	}
	for _, n := range nodes {
		if err := n.instance.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		eventually(t, "the peers know each other", n.instance.Acquainted)
	}
}

// withoutHot empties the hot caches, so that values found nevertheless were handed over.
func (c *cluster) withoutHot(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		n.group.DropHot()
	}
}

func TestAPeerThatJoinsInherits(t *testing.T) {
	inBubbles(t, func(t *testing.T, by way) {
		c := by.nodesOfPipes(t, 4, nil)
		late := c.nodes[3]
		setPeers(t, c.nodes[:3]...)
		readAll(t, c.nodes[0])
		c.withoutHot(t)
		setPeers(t, c.nodes...)
		readAll(t, late, c.nodes[1])
		if n := c.source.loads.Load(); n != handedKeys {
			t.Errorf("%d loads of %d keys: what moved to the new peer was loaded again", n, handedKeys)
		}
		owned := 0
		for i := range handedKeys {
			if late.instance.Owns(handedKey(i)) {
				owned++
			}
		}
		if owned == 0 {
			t.Error("no key has moved: nothing was tested")
		}
	})
}

func TestWhatAPeerLeavesIsInherited(t *testing.T) {
	inBubbles(t, func(t *testing.T, by way) {
		c := by.clusterOfPipes(t, 3)
		readAll(t, c.nodes[0])
		c.withoutHot(t)
		setPeers(t, c.nodes[:2]...)
		readAll(t, c.nodes[:2]...)
		if n := c.source.loads.Load(); n != handedKeys {
			t.Errorf("%d loads of %d keys: what the peer left was loaded again", n, handedKeys)
		}
	})
}

func TestGetMultiAsksAFormerOwnerOnce(t *testing.T) { inBubbles(t, askFormerOwnerOnce) }

func askFormerOwnerOnce(t *testing.T, by way) {
	t.Helper()
	c := by.clusterOfPipes(t, 3)
	var keys []string
	for i := range handedKeys {
		keys = append(keys, handedKey(i))
	}
	if got, err := c.nodes[0].group.GetMulti(t.Context(), keys[:handedKeys/2]); err != nil || len(got) != handedKeys/2 {
		t.Fatalf("%d values, %v", len(got), err)
	}
	c.withoutHot(t)
	setPeers(t, c.nodes[:2]...)
	before := c.nodes[2].posts.Load()
	got, err := c.nodes[0].group.GetMulti(t.Context(), keys)
	if err != nil || len(got) != handedKeys {
		t.Fatalf("%d values, %v", len(got), err)
	}
	for key, v := range got {
		if v.String() != "value of "+key {
			t.Errorf("%q: %q", key, v)
		}
	}
	// Both others ask: once for what there is, and once more, in vain, for what there is not. Among
	// their own keys of before are some that nobody has read; it may have been their owner before
	// they came.
	if asked := c.nodes[2].posts.Load() - before; asked < 2 || asked > 10 {
		t.Errorf("the former owner was asked %d times by two peers", asked)
	}
	if n := c.source.loads.Load(); n != handedKeys {
		t.Errorf("%d loads of %d keys", n, handedKeys)
	}
}

func TestWithoutHandoverKeysThatMoveAreLoadedAgain(t *testing.T) {
	c := startCluster(t, 3, func(o *groupcache.Options) { o.Handover = -1 })
	readAll(t, c.nodes[0])
	c.withoutHot(t)
	setPeers(t, c.nodes[:2]...)
	readAll(t, c.nodes[:2]...)
	if n := c.source.loads.Load(); n == handedKeys {
		t.Errorf("%d loads of %d keys: Options.Handover is not obeyed, or the other tests test nothing", n, handedKeys)
	}
}

// A former owner that was not told of a removal has the old value still; the new owner must not
// take it from there.
func TestWhatWasRemovedIsNotInherited(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		for what, write := range map[string]func(*node, string) error{
			"removed": func(n *node, key string) error { return n.group.Remove(context.Background(), key) },
			"set and evicted": func(n *node, key string) error {
				return errors.Join(n.group.Set(context.Background(), key, []byte("new"), time.Time{}, false), n.group.Remove(context.Background(), key))
			},
			"cleared": func(n *node, _ string) error {
				n.group.Clear()
				return nil
			},
		} {
			t.Run(what, func(t *testing.T) {
				c := by.cluster(t, 2, nil)
				former, owner := c.nodes[1], c.nodes[0]
				key := c.ownedBy(t, former)
				if _, err := get(t.Context(), former.group, key); err != nil {
					t.Fatal(err)
				}
				setPeers(t, owner) // the former owner is not told
				former.untold.Store(true)
				c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
				if err := write(owner, key); err != nil {
					t.Fatal(err)
				}
				if v, err := get(t.Context(), former.group, key); err != nil || v != "value of "+key {
					t.Fatalf("%q, %v at the former owner: nothing is tested", v, err)
				}
				if v, err := get(t.Context(), owner.group, key); err != nil || v != "new" {
					t.Errorf("%q, %v: the value of before the write", v, err)
				}
			})
		}
	})
}

// A peer that has not heard of the change still asks the former owner: told before that one, it
// could fetch the old value again, and keep it.
func TestFormerOwnersAreToldFirst(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 4, nil)
		writer, unaware, joined := c.nodes[0], c.nodes[1], c.nodes[3]
		setPeers(t, c.nodes[:3]...)
		former := c.nodes[2]
		var key string
		for i := 0; key == ""; i++ {
			if k := handedKey(i); former.instance.Owns(k) && joined.instance.Owns(k) { // that one has heard of nothing
				key = k
			}
		}
		if err := writer.instance.SetPeers(writer.url, unaware.url, former.url, joined.url); err != nil {
			t.Fatal(err)
		}
		var toldFormer atomic.Bool
		for _, n := range []*node{unaware, joined} {
			check := func() {
				if !toldFormer.Load() {
					t.Errorf("%s was told before the former owner, %s", n.url, former.url)
				}
			}
			n.hold.Store(&check)
		}
		slow := func() {
			time.Sleep(20 * time.Millisecond)
			toldFormer.Store(true)
		}
		former.hold.Store(&slow)
		if err := writer.group.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if !toldFormer.Load() {
			t.Error("the former owner was not told")
		}
	})
}

// Others may not know yet that a peer has left, and ask it.
func TestAPeerThatHasLeftIsToldOfWrites(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		for what, write := range map[string]func(*node, string) error{
			"Remove": func(n *node, key string) error { return n.group.Remove(context.Background(), key) },
			"Set": func(n *node, key string) error {
				return n.group.Set(context.Background(), key, []byte("new"), time.Time{}, false)
			},
		} {
			t.Run(what, func(t *testing.T) {
				c := by.cluster(t, 3, hasty)
				writer, reader, left := c.nodes[0], c.nodes[1], c.nodes[2]
				key := c.ownedBy(t, left)
				if _, err := get(t.Context(), left.group, key); err != nil {
					t.Fatal(err)
				}
				if err := writer.instance.SetPeers(writer.url, reader.url); err != nil {
					t.Fatal(err)
				}
				c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
				if err := write(writer, key); err != nil {
					t.Fatal(err)
				}
				if v, err := get(t.Context(), reader.group, key); err != nil || v != "new" {
					t.Errorf("%q, %v from the peer that has left", v, err)
				}
				left.hung.Store(true)
				if err := write(writer, key); err != nil {
					t.Errorf("the one that has left hangs: %v", err)
				}
				left.kill()
				if err := write(writer, key); err != nil {
					t.Errorf("the one that has left is gone: %v", err)
				}
			})
		}
	})
}

// A removal that passes the old value on its way from the former owner wins.
func TestARemovalWhileAValueIsHandedOver(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		for what, begin := range map[string]func(former, owner *node, key string){
			"drained": func(former, _ *node, _ string) { _ = former.instance.Drain(context.Background()) },
			"inherited": func(_, owner *node, key string) {
				_ = owner.instance.SetPeers(owner.url)
				_, _ = get(context.Background(), owner.group, key)
			},
		} {
			t.Run(what, func(t *testing.T) {
				c := by.cluster(t, 2, func(o *groupcache.Options) { o.Silence = time.Minute })
				owner, former := c.nodes[0], c.nodes[1]
				key := c.ownedBy(t, former)
				if _, err := get(t.Context(), former.group, key); err != nil {
					t.Fatal(err)
				}
				late := &lateness{made: make(chan struct{}), release: make(chan struct{})}
				former.late.Store(late)
				var all sync.WaitGroup
				all.Go(func() { begin(former, owner, key) })
				<-late.made
				if err := owner.group.Remove(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
				former.late.Store(nil)
				close(late.release)
				all.Wait()
				if err := owner.instance.SetPeers(owner.url); err != nil {
					t.Fatal(err)
				}
				if v, err := get(t.Context(), owner.group, key); err != nil || v != "new" {
					t.Errorf("%q, %v: the value of before the removal", v, err)
				}
			})
		}
	})
}

// The same while writes, reads, and changes of the peers go on.
func TestHandoverIsNeverStale(t *testing.T) {
	c := startCluster(t, 3, patient)
	var version atomic.Int64
	c.source.answer = func(context.Context, string) (string, error) { return fmt.Sprint(version.Load()), nil }
	key := c.ownedBy(t, c.nodes[2])
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for leaves := true; ; leaves = !leaves {
			peers := c.nodes
			if leaves {
				peers = c.nodes[:2]
			}
			var urls []string
			for _, n := range peers {
				urls = append(urls, n.url)
			}
			for _, n := range c.nodes[:2] {
				_ = n.instance.SetPeers(urls...)
			}
			if leaves {
				_ = c.nodes[2].instance.Drain(context.Background())
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	for range 300 {
		want := version.Add(1)
		if err := c.nodes[0].group.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		var got int64
		v, err := get(t.Context(), c.nodes[0].group, key)
		if _, scanErr := fmt.Sscan(v, &got); err != nil || scanErr != nil || got < want {
			t.Errorf("%q, %v after the removal before version %d", v, err, want)
		}
	}
	close(stop)
	all.Wait()
}

func TestAHungFormerOwnerCostsLittle(t *testing.T) {
	inBubbles(t, func(t *testing.T, by way) {
		c := by.nodesOfPipes(t, 2, hasty)
		c.acquaint(t)
		by.expect(t, c.nodes...)
		readAll(t, c.nodes...)
		c.withoutHot(t)
		c.nodes[1].hung.Store(true)
		setOnly := c.nodes[:1]
		setPeers(t, setOnly...)
		before := c.nodes[1].posts.Load()
		for i := range handedKeys {
			if v, err := get(t.Context(), c.nodes[0].group, handedKey(i)); err != nil || v != "value of "+handedKey(i) {
				t.Fatalf("%q, %v", v, err)
			}
		}
		if asked := c.nodes[1].posts.Load() - before; asked == 0 || asked > 30 {
			t.Errorf("%d of %d loads waited for the former owner, want a few", asked, handedKeys)
		}
	})
}

// A process that was paused beyond its registration, or cut off, was not told of the writes
// meanwhile.
func TestAPeerThatWasAwayForgets(t *testing.T) {
	for role, owner := range map[string]int{"owner": 2, "other": 1} {
		t.Run(role, func(t *testing.T) { inBubbles(t, func(t *testing.T, by way) { comeBack(t, by, owner) }) })
	}
}

// comeBack has the third process away while a key of one of them is removed.
func comeBack(t *testing.T, by way, owner int) {
	t.Helper()
	const handover = 50 * time.Millisecond
	c := by.nodesOfPipes(t, 3, func(o *groupcache.Options) { o.Handover = handover })
	c.acquaint(t)
	by.expect(t, c.nodes...)
	away := c.nodes[2]
	key := c.ownedBy(t, c.nodes[owner])
	old, err := get(t.Context(), away.group, key)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * handover) // the processes are not new any more
	for _, n := range c.nodes[:2] {
		if err := n.instance.SetPeers(c.nodes[0].url, c.nodes[1].url); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * handover) // the one that is away is forgotten
	c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
	if err := c.nodes[0].group.Remove(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if v, err := get(t.Context(), away.group, key); err != nil || v != old {
		t.Fatalf("%q, %v: nothing is tested", v, err)
	}
	setPeers(t, c.nodes...)
	eventually(t, "it drops what it has", func() bool {
		v, err := get(t.Context(), away.group, key)
		return err == nil && v == "new"
	})
}

// A process that joins is known by some before others.
func TestAPeerThatJoinsHearsOfWritesBefore(t *testing.T) {
	for what, age := range map[string]time.Duration{"new processes": 0, "old processes": 100 * time.Millisecond} {
		t.Run(what, func(t *testing.T) {
			c := startCluster(t, 2, func(o *groupcache.Options) {
				if age > 0 {
					o.Handover = age / 2
				}
			})
			late := startNode(t, c.source, nil)
			if err := late.instance.SetPeers(c.nodes[0].url, c.nodes[1].url, late.url); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it knows the others", late.instance.Acquainted)
			time.Sleep(age)
			key := c.ownedBy(t, late)
			old, err := get(t.Context(), late.group, key)
			if err != nil {
				t.Fatal(err)
			}
			c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
			if err := c.nodes[0].group.Remove(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if v, err := get(t.Context(), late.group, key); err != nil || v != old {
				t.Fatalf("%q, %v: nothing is tested", v, err)
			}
			setPeers(t, c.nodes[0], c.nodes[1], late)
			eventually(t, "it drops what it has", func() bool {
				v, err := get(t.Context(), late.group, key)
				return err == nil && v == "new"
			})
		})
	}
}
