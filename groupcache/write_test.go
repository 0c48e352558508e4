package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

func TestSetReachesAllPeers(t *testing.T) {
	c := startCluster(t, 3, patient)
	for i, setter := range c.nodes {
		key := c.ownedBy(t, c.nodes[0])
		for _, n := range c.nodes {
			if _, err := get(t.Context(), n.group, key); err != nil {
				t.Fatal(err)
			}
		}
		value := []byte(fmt.Sprintf("new %d", i))
		want := string(value)
		if err := setter.group.Set(t.Context(), key, value, time.Now().Add(time.Hour), i == 2); err != nil {
			t.Fatal(err)
		}
		copy(value, "spoilt")
		for _, n := range c.nodes {
			v, err := n.group.View(t.Context(), key)
			if v.String() != want || err != nil || time.Until(v.Expire()) < 59*time.Minute {
				t.Errorf("%q until %v, %v; want %q", v, v.Expire(), err, want)
			}
		}
	}
	if loads := c.source.loads.Load(); loads != 1 {
		t.Errorf("%d loads", loads)
	}
}

func TestRemoveNamesThePeersThatItCouldNotTell(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 3, nil)
		c.nodes[2].kill()
		key := c.ownedBy(t, c.nodes[0])
		for what, err := range map[string]error{
			"Remove": c.nodes[1].group.Remove(t.Context(), key),
			"Set":    c.nodes[1].group.Set(t.Context(), key, []byte("v"), time.Time{}, false),
		} {
			if !errors.Is(err, groupcache.ErrPeerUnavailable) || !strings.Contains(err.Error(), c.nodes[2].url) || strings.Contains(err.Error(), c.nodes[0].url) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// Remove during a load: with the originals the old value stayed for ever.
func TestNoGetAfterARemoveGetsAnOldValue(t *testing.T) {
	rounds := cut(10_000, 10)
	if testing.Short() {
		rounds = 500
	}
	c := startCluster(t, 3, patient)
	var version atomic.Int64
	c.source.answer = func(context.Context, string) (string, error) {
		v := fmt.Sprint(version.Load())
		if version.Load()%4 == 0 {
			time.Sleep(50 * time.Microsecond)
		}
		return v, nil
	}
	for round := range rounds {
		key := fmt.Sprint("k", round%7)
		var readers sync.WaitGroup
		for _, n := range c.nodes {
			readers.Go(func() { _, _ = get(t.Context(), n.group, key) })
		}
		want := fmt.Sprint(version.Add(1))
		if err := c.nodes[round%3].group.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		for i, n := range c.nodes {
			if v, err := get(t.Context(), n.group, key); v != want || err != nil {
				t.Fatalf("round %d: node %d has %q after the removal, %v; want %q", round, i, v, err, want)
			}
		}
		readers.Wait()
		for i, n := range c.nodes {
			if v, err := get(t.Context(), n.group, key); v != want || err != nil {
				t.Fatalf("round %d: node %d kept %q, %v; want %q", round, i, v, err, want)
			}
		}
	}
}
