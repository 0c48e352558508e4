package grpcpeer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

func TestEachKeyIsLoadedOnceByItsOwner(t *testing.T) {
	c := startCluster(t, 3, nil, grpcpeer.Options{})
	for i := range 50 {
		key := fmt.Sprintf("%d\xff", i*7919)
		var all sync.WaitGroup
		for _, n := range c.nodes {
			for range 4 {
				all.Go(func() {
					if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
						t.Errorf("%q, %v", v, err)
					}
				})
			}
		}
		all.Wait()
		if got := c.source.loadsOf(key); got != 1 {
			t.Errorf("%q: %d loads", key, got)
		}
	}
}

func TestTheGettersErrorsArriveAsTheyAre(t *testing.T) {
	c := startCluster(t, 2, nil, grpcpeer.Options{})
	c.source.answer = func(_ context.Context, key string) (string, error) {
		if strings.HasSuffix(key, "gone") {
			return "", &groupcache.ErrNotFound{Msg: "gone \xff"}
		}
		return "", errors.New("the database is away")
	}
	key := c.ownedBy(c.nodes[1])
	_, err := get(t.Context(), c.nodes[0].group, key)
	var remote groupcache.RemoteLoadError
	if !errors.Is(err, &groupcache.ErrRemoteCall{}) || !errors.As(err, &remote) || err.Error() != "the database is away" {
		t.Errorf("%v", err)
	}
	if got := c.source.loadsOf(key); got != 1 {
		t.Errorf("%d loads", got)
	}
	for i := 0; ; i++ {
		if key = fmt.Sprintf("%d is gone", i); c.ring.Get(key) == c.nodes[1].addr {
			break
		}
	}
	if _, err = get(t.Context(), c.nodes[0].group, key); !errors.Is(err, &groupcache.ErrNotFound{}) || err.Error() != "gone \xff" {
		t.Errorf("%v", err)
	}
}

func TestGetMultiAsksEachOwnerOnce(t *testing.T) {
	c := startCluster(t, 3, nil, grpcpeer.Options{})
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("%d\xff", i*7919))
	}
	got, err := c.nodes[0].group.GetMulti(t.Context(), keys)
	if err != nil || len(got) != len(keys) {
		t.Fatalf("%d values, %v", len(got), err)
	}
	for _, key := range keys {
		if got[key].String() != "value of "+key {
			t.Errorf("%q: %q", key, got[key])
		}
	}
	for _, n := range c.nodes[1:] {
		if multi, one := n.callsOf("GetMulti"), n.callsOf("Get"); multi != 1 || one != 0 {
			t.Errorf("%s: %d requests for several keys, %d for one", n.addr, multi, one)
		}
	}
}

// Many callers of one peer share requests for what it has in its cache.
func TestManyGetsShareRequests(t *testing.T) {
	c := startCluster(t, 2, nil, grpcpeer.Options{})
	const n = 2000
	var keys []string
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprintf("%d shared", i); c.ring.Get(key) == c.nodes[1].addr {
			keys = append(keys, key)
		}
	}
	if got, err := c.nodes[1].group.GetMulti(t.Context(), keys); err != nil || len(got) != n {
		t.Fatalf("%d, %v", len(got), err)
	}
	var all sync.WaitGroup
	for _, key := range keys {
		all.Go(func() {
			if v, err := get(t.Context(), c.nodes[0].group, key); v != "value of "+key || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
	all.Wait()
	if calls := c.nodes[1].callsOf("Get") + c.nodes[1].callsOf("GetCached"); calls > n/2 {
		t.Errorf("%d requests for %d keys", calls, n)
	}
}

func TestSetAndRemoveReachAll(t *testing.T) {
	c := startCluster(t, 3, nil, grpcpeer.Options{})
	for _, owner := range c.nodes {
		key := c.ownedBy(owner)
		c.expect(t, key, "value of "+key)
		if err := c.nodes[0].group.Set(t.Context(), key, []byte("set \xff"), time.Time{}, true); err != nil {
			t.Fatal(err)
		}
		c.expect(t, key, "set \xff")
		if err := c.nodes[1].group.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		c.expect(t, key, "value of "+key)
	}
}

// expect asks all nodes for a key.
func (c *cluster) expect(t *testing.T, key, want string) {
	t.Helper()
	for _, n := range c.nodes {
		if v, err := get(t.Context(), n.group, key); v != want || err != nil {
			t.Errorf("%q at %s: %q, %v; want %q", key, n.addr, v, err, want)
		}
	}
}

func TestTheEvenRingIsUsedWhenAllSaySo(t *testing.T) {
	c := startCluster(t, 3, func(o *groupcache.Options) { o.Ring = groupcache.Rendezvous }, grpcpeer.Options{})
	for _, n := range c.nodes {
		eventually(t, "the even ring is in use", func() bool { return n.instance.Debug().Ring == "rendezvous" })
	}
	var all sync.WaitGroup
	for i := range 30 {
		for _, n := range c.nodes {
			all.Go(func() { _, _ = get(t.Context(), n.group, fmt.Sprint(i)) })
		}
	}
	all.Wait()
	for i := range 30 {
		if got := c.source.loadsOf(fmt.Sprint(i)); got != 1 {
			t.Errorf("key %d: %d loads", i, got)
		}
	}
}

// A process that leaves offers its values to those that will own them.
func TestDrainHandsOver(t *testing.T) {
	c := startCluster(t, 3, nil, grpcpeer.Options{})
	leaving := c.nodes[0]
	var keys []string
	for i := 0; len(keys) < 20; i++ {
		if key := fmt.Sprintf("%d to hand over", i); c.ring.Get(key) == leaving.addr {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		c.expectAt(t, leaving, key)
	}
	if err := leaving.instance.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	rest := c.addrs()[1:]
	for _, n := range c.nodes[1:] {
		if err := n.instance.SetPeers(rest...); err != nil {
			t.Fatal(err)
		}
	}
	if err := leaving.network.Close(); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		c.expectAt(t, c.nodes[1], key)
		if got := c.source.loadsOf(key); got != 1 {
			t.Errorf("%q: %d loads", key, got)
		}
	}
}

func (c *cluster) expectAt(t *testing.T, n *node, key string) {
	t.Helper()
	if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
		t.Errorf("%q at %s: %q, %v", key, n.addr, v, err)
	}
}

// The next owner loads for all while the owner's server is away; no caller sees an error.
func TestTheNextOwnerLoadsForADeadOne(t *testing.T) {
	c := startCluster(t, 4, nil, grpcpeer.Options{})
	key := c.ownedBy(c.nodes[0])
	if err := c.nodes[0].network.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes[1:] {
		c.expectAt(t, n, key)
	}
	if got := c.source.loadsOf(key); got != 1 {
		t.Errorf("%d loads", got)
	}
}

// Peers that a discovery brings and takes away leave no connections behind, and disturb nobody:
// goleak counts, too.
func TestPeersComeAndGo(t *testing.T) {
	c := startCluster(t, 3, nil, grpcpeer.Options{})
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for _, n := range c.nodes {
		asking.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := get(t.Context(), n.group, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	addrs := c.addrs()
	for i := range 30 {
		for _, n := range c.nodes {
			some := slices.Clone(addrs)
			if i%2 == 0 {
				some = slices.Delete(some, i%3, i%3+1)
			}
			if err := n.instance.SetPeers(some...); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(2 * time.Millisecond) // some requests with these peers
	}
	close(stop)
	asking.Wait()
}

func TestARemovalByPrefixOverGRPC(t *testing.T) {
	c := startCluster(t, 3, nil, grpcpeer.Options{})
	for _, key := range []string{c.ownedBy(c.nodes[1]), "\x00", "\xff\xfe", strings.Repeat("long", 1<<10)} { // keys are bytes
		getAll := func() {
			t.Helper()
			for _, n := range c.nodes {
				if _, err := get(t.Context(), n.group, key); err != nil {
					t.Fatal(err)
				}
			}
		}
		getAll()
		r, err := c.nodes[0].group.RemovePrefix(t.Context(), key)
		if err != nil || len(r.Done) != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		getAll()
		if got := c.source.loadsOf(key); got != 2 {
			t.Errorf("%.9q: %d loads", key, got)
		}
	}
}

// What is no removal by prefix changes nothing, and the peer is not taken for one that is down.
func TestAPeerThatDoesNotKnowARemovalByPrefix(t *testing.T) {
	tr := pair(t, &standIn{sweep: func(string, writes.Sweep) error { return wire.ErrRefused }})
	if err := tr.Sweep(t.Context(), "g", writes.Sweep{Phase: "other"}); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("an unknown phase: %v", err)
	}
	old := dial(t, stranger(t, func(any, grpc.ServerStream) error { return nil }), grpcpeer.Options{})
	if err := old.Sweep(t.Context(), "g", writes.Sweep{Phase: writes.Begin}); !wire.Hopeless(err) {
		t.Errorf("an older version: %v", err)
	}
}

func TestWhatWasWrittenIsAskedForOverGRPC(t *testing.T) {
	tr := pair(t, &standIn{written: func(group string, within time.Duration, keys []string) ([]wire.Answer, error) {
		if group != "g" || within != 1500*time.Millisecond || !slices.Equal(keys, []string{"a", "b"}) {
			return nil, wire.ErrRefused
		}
		return []wire.Answer{{Outcome: wire.Absent}, {Outcome: wire.Found}}, nil
	}})
	answers, err := tr.Written(t.Context(), "g", 1500*time.Millisecond, []string{"a", "b"})
	if err != nil || answers[0].Outcome != wire.Absent || answers[1].Outcome != wire.Found {
		t.Errorf("%v, %v", answers, err)
	}
	if _, err := tr.Written(t.Context(), "g", time.Hour, []string{"a"}); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("it does not remember: %v", err)
	}
}
