package groupcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/internal/snapshot"
)

// save fills the caches of a node with keys, and returns a snapshot of its own ones.
func (c *cluster) save(t *testing.T, n *node) (snap []byte, own []string) {
	t.Helper()
	for i := range 60 {
		if key := fmt.Sprint("key ", i); n.instance.Owns(key) {
			own = append(own, key)
			if _, err := get(t.Context(), n.group, key); err != nil {
				t.Fatal(err)
			}
		}
	}
	var b bytes.Buffer
	if saved, err := n.group.Save(&b); err != nil || saved != len(own) || saved < 3 {
		t.Fatalf("%d of %d values are saved, %v", saved, len(own), err)
	}
	return b.Bytes(), own
}

func withoutSelf(o *groupcache.Options) { o.Self = "" }

func TestAWarmStartLoadsNothing(t *testing.T) {
	c := &cluster{source: newSource()}
	c.nodes = []*node{startNode(t, c.source, withoutSelf)}
	snap, own := c.save(t, c.nodes[0])
	next := startNode(t, c.source, withoutSelf)
	if err := next.group.Set(t.Context(), own[0], []byte("newer"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	if n, err := next.group.Load(t.Context(), bytes.NewReader(snap)); n != len(own)-1 || err != nil {
		t.Errorf("%d of %d, %v", n, len(own)-1, err)
	}
	before := c.source.loads.Load()
	for i, key := range own {
		want := "value of " + key
		if i == 0 {
			want = "newer"
		}
		if got, err := get(t.Context(), next.group, key); got != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if n := c.source.loads.Load() - before; n != 0 {
		t.Errorf("%d loads", n)
	}
}

// A key removed while the process was away is not taken, although it has not been told.
func TestAWarmStartAsksForRemovals(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		for what, remove := range map[string]func(*groupcache.Group, string) error{
			"of a key": func(g *groupcache.Group, key string) error { return g.Remove(t.Context(), key) },
			"by prefix": func(g *groupcache.Group, key string) error {
				_, err := g.RemovePrefix(t.Context(), key)
				return err
			},
		} {
			t.Run(what, func(t *testing.T) {
				c := by.cluster(t, 3, nil)
				n := c.nodes[2]
				snap, own := c.save(t, n)
				n.group.Drop()
				n.down.Store(true)
				last := own[len(own)-1]
				if err := remove(c.nodes[0].group, last); !errors.Is(err, groupcache.ErrPeerUnavailable) {
					t.Fatal(err)
				}
				taken, err := n.group.Load(t.Context(), bytes.NewReader(snap))
				if taken != len(own)-1 || err != nil {
					t.Errorf("%d of %d values, %v", taken, len(own)-1, err)
				}
				before := c.source.loads.Load()
				for _, key := range own {
					if got, err := get(t.Context(), n.group, key); got != "value of "+key || err != nil {
						t.Errorf("%q, %v", got, err)
					}
				}
				if loads := c.source.loads.Load() - before; loads != 1 {
					t.Errorf("%d loads", loads)
				}
			})
		}
	})
}

// A removal that comes while the peers are being asked wins.
func TestARemovalDuringAWarmStart(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 2, nil)
		n := c.nodes[1]
		snap, own := c.save(t, n)
		n.group.Drop()
		once := func([]byte) {
			if err := n.group.SweepStep("once", "", own[0]); err != nil {
				t.Error(err)
			}
		}
		c.nodes[0].before.Store(&once)
		removed := 0
		for _, key := range own {
			if strings.HasPrefix(key, own[0]) {
				removed++
			}
		}
		if taken, err := n.group.Load(t.Context(), bytes.NewReader(snap)); taken != len(own)-removed || err != nil {
			t.Errorf("%d of %d values, %v", taken, len(own)-removed, err)
		}
	})
}

func TestWhatIsNotChecked(t *testing.T) {
	c := startCluster(t, 2, nil)
	n := c.nodes[1]
	snap, own := c.save(t, n)
	n.group.Drop()
	expect := func(what string, n *node, snap []byte, part string) {
		t.Helper()
		taken, err := n.group.Load(t.Context(), bytes.NewReader(snap))
		if taken != 0 || err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %d values, %v", what, taken, err)
		}
	}
	of := func(group string, at time.Time) []byte {
		var b bytes.Buffer
		w, err := snapshot.NewWriter(&b, group, at)
		if err == nil {
			err = errors.Join(w.Write(snapshot.Record{Key: own[0], Value: "old"}), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	expect("an old one", n, of("g", time.Now().Add(-2*time.Minute)), "older than Options.Handover")
	expect("one of the future", n, of("g", time.Now().Add(time.Hour)), "from the future")
	expect("one from before the peers began", n, of("g", time.Now().Add(-30*time.Second)), "does not tell what was removed since")
	expect("another group's", n, of("h", time.Now()), "of the group \"h\"")
	expect("none", n, []byte("value"), "damaged")
	expect("no peers yet", startNode(t, c.source, nil), snap, "call SetPeers before")
	expect("foreign peers", startNode(t, c.source, nil, groupcache.WithPeerPicker(foreignPeers{})), snap, "foreign PeerPicker")
	m := startMixed(t, 1, 1, longest)
	ours := m.members[1].(current)
	key := ""
	for i := 0; !ours.instance.Owns(key); i++ {
		key = fmt.Sprint(i)
	}
	own[0] = key
	expect("an original", ours.node, of("g", time.Now()), "does not tell what was removed since")
}
