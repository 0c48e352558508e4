package groupcache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/internal/snapshot"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// A peer that leaves offers its values. One that was removed between the look at the latest writes
// and the begin of the load was kept, as the peer had not been told yet.
func TestNothingIsTakenFromAPeerThatWasRemovedBefore(t *testing.T) {
	c, e := startEditions(t, 2, nil)
	leaving, heir := c.nodes[0], c.nodes[1]
	old, other := c.ownedBy(t, leaving, "old"), c.ownedBy(t, leaving, "other")
	c.expect(t, []string{old, other}, e.of)
	heir.group.Drop()
	if err := heir.group.SweepStep("begin", "id", old); err != nil {
		t.Fatal(err)
	}
	if n := heir.group.TakeFrom(t.Context(), leaving.url, old, other); n != 1 {
		t.Errorf("%d values are taken", n)
	}
	if _, err := heir.group.RemoveAll(t.Context()); err != nil {
		t.Error(err)
	}
	if n := heir.group.TakeFrom(t.Context(), leaving.url, old, other); n != 0 {
		t.Errorf("%d values are taken after all were removed", n)
	}
}

// A removal that came between the reading of a value and the begin of its load was lost.
func TestARemovalWhileASnapshotIsRead(t *testing.T) {
	c := startCluster(t, 2, nil)
	n := c.nodes[1]
	snap, own := c.save(t, n)
	n.group.Drop()
	rest := len(snap) - 1 // all records have been read before the last byte
	remove := readerFunc(func([]byte) (int, error) {
		if err := n.group.SweepStep("once", "", "key"); err != nil {
			t.Error(err)
		}
		return 0, io.EOF
	})
	from := io.MultiReader(bytes.NewReader(snap[:rest]), remove, bytes.NewReader(snap[rest:]))
	if taken, err := n.group.Load(t.Context(), iotest.OneByteReader(from)); taken != 0 || err != nil {
		t.Errorf("%d of %d values, %v", taken, len(own), err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// A context that ends also ends the reading of values that are not taken.
func TestAWarmStartEndsWithItsContext(t *testing.T) {
	c := startCluster(t, 2, nil)
	foreign := snapshot.Record{Key: c.ownedBy(t, c.nodes[1]), Value: strings.Repeat("v", 1<<10)}
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b, "g", time.Now())
	for range 1000 {
		err = errors.Join(err, w.Write(foreign))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	head := io.LimitReader(&b, 4<<10)
	ends := readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	})
	n, err := c.nodes[0].group.Load(ctx, io.MultiReader(head, ends, &b))
	if n != 0 || !errors.Is(err, context.Canceled) || b.Len() < 900<<10 {
		t.Errorf("%d values, %v, %d bytes are left", n, err, b.Len())
	}
}

// One key that was too long for a snapshot cost all values.
func TestSaveLeavesOutAKeyThatIsTooLong(t *testing.T) {
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	big, err := i.NewGroup("big", 16<<20, new(editions))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", strings.Repeat("k", 1<<20+1), "b"} {
		if err := big.Set(t.Context(), key, []byte("value"), time.Time{}, false); err != nil {
			t.Fatal(err)
		}
	}
	if items := big.CacheStats(groupcache.MainCache).Items; items != 3 {
		t.Fatalf("%d items are kept: the test is no test", items)
	}
	if n, err := big.Save(io.Discard); n != 2 || err != nil {
		t.Errorf("%d values, %v", n, err)
	}
}

// Somebody on the way can neither repeat the steps of a removal by prefix, nor send them elsewhere,
// nor make others of them.
func TestARemovalByPrefixThatWasSeenChangesNothing(t *testing.T) {
	c, taps := startGuarded(t, 3, groupcache.AuthRequire)
	if _, err := c.nodes[0].group.RemovePrefix(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	steps := taps[1].taken(http.MethodPost)
	if len(steps) != 2 {
		t.Fatalf("%d POSTs were seen", len(steps))
	}
	keys := []string{"k1", "k2", "k3", "k4"}
	first := func(key string) string { return "value of " + key }
	c.expect(t, keys, first)
	all, unsigned := steps[0], steps[0]
	all.body = []byte("\n\x04once\n\x00\n\x00")
	unsigned.header = nil
	for _, s := range append(steps, all, unsigned) {
		for _, n := range c.nodes {
			if code := s.to(t, n.url); code != http.StatusUnauthorized {
				t.Errorf("%q: %d", s.body, code)
			}
		}
	}
	c.source.answer = func(context.Context, string) (string, error) { return "another", nil }
	c.expect(t, keys, first)
}

// network is a Network of peers that are functions.
type network map[string]func(context.Context, writes.Sweep) error

func (network) CheckAddress(string) error { return nil }

func (network) Attach(wire.Local) error { return nil }

func (n network) Dial(addr string) wire.Transport { return &sweeping{sweep: n[addr]} }

// sweeping is a peer that knows removals by prefix alone.
type sweeping struct {
	wire.Transport
	sweep func(context.Context, writes.Sweep) error
}

func (s *sweeping) Sweep(ctx context.Context, _ string, sweep writes.Sweep) error {
	return s.sweep(ctx, sweep)
}

func (*sweeping) Probe(context.Context) (wire.Greeting, error) {
	return wire.Greeting{Marked: true}, nil
}

func (*sweeping) Explore(context.Context) wire.Way {
	return wire.Way{Marked: true, Signs: wire.Passes, Batches: wire.Passes, Sure: true}
}

func (*sweeping) Close() {}

// Those that have begun wait 30 seconds for the End. A peer that began after that gave them an old
// value, which they kept, and RemovePrefix returned nil.
func TestAPeerThatBeginsTooLateHasMissedARemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var caughtUp atomic.Bool
		i, err := groupcache.New(groupcache.Options{
			Self: "self", PeerTimeout: time.Hour, Silence: time.Hour,
			Network: network{
				"fast": func(context.Context, writes.Sweep) error { return nil },
				"slow": func(ctx context.Context, s writes.Sweep) error {
					if s.Phase == writes.Once {
						caughtUp.Store(true)
						return nil
					}
					select {
					case <-time.After(35 * time.Second):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = i.Close() }()
		g, err := i.NewGroup("g", 1<<20, new(editions))
		if err != nil {
			t.Fatal(err)
		}
		if err := i.SetPeers("self", "fast", "slow"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begun := time.Now()
		r, err := g.RemoveAll(t.Context())
		expectRemoval(t, r, err, groupcache.Removal{Done: []string{"fast"}, Missed: []string{"slow"}})
		if took := time.Since(begun); took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute)
		if !caughtUp.Load() {
			t.Error("it is not told later")
		}
	})
}

// A process that came while others had still to begin a removal was told to drop what it had, got
// an old value from one of the others, and kept it.
func TestAProcessThatComesDuringARemovalTakesPartInIt(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		for what, comes := range map[string]func(t *testing.T, c *cluster, coming *node){
			"is new to the writer": func(t *testing.T, c *cluster, _ *node) { setPeers(t, c.nodes...) },
			"is back":              func(_ *testing.T, _ *cluster, coming *node) { coming.down.Store(false) },
		} {
			t.Run(what, func(t *testing.T) {
				c, e := by.editions(t, 3, func(o *groupcache.Options) { o.Handover = -1 }) // with it, keys removed lately are not kept anyway
				writer, slow, coming := c.nodes[0], c.nodes[1], c.nodes[2]
				key := c.ownedBy(t, slow)
				c.expect(t, []string{key}, e.of)
				old := e.of(key)
				e.n.Add(1)
				if what == "is back" {
					coming.down.Store(true)
				} else if err := writer.instance.SetPeers(writer.url, slow.url); err != nil {
					t.Fatal(err)
				}
				begins, begin := make(chan struct{}), make(chan struct{})
				before := func(request []byte) {
					if bytes.Contains(request, []byte("begin")) {
						close(begins)
						<-begin
					}
				}
				slow.before.Store(&before)
				removed := make(chan error, 1)
				go func() {
					_, err := writer.group.RemoveAll(t.Context())
					removed <- err
				}()
				<-begins
				eventually(t, "the writer does without it", func() bool { return writer.instance.PeersUp() == 1 })
				comes(t, c, coming)
				eventually(t, "the writer knows it", func() bool { return writer.instance.PeersUp() == 2 })
				if got, err := get(t.Context(), coming.group, key); got != old || err != nil {
					t.Fatalf("%q, %v: the owner knows already: the test is no test", got, err)
				}
				close(begin)
				if err := <-removed; errors.Is(err, groupcache.ErrPeerUnavailable) != (what == "is back") {
					t.Errorf("the removal ends with %v", err)
				}
				if n := writer.instance.Beginning(); n != 0 {
					t.Errorf("%d removals are in their first step after all", n)
				}
				c.expect(t, []string{key}, e.of)
				e.n.Add(1)
				eventually(t, "it hears of the end, and keeps values again", func() bool {
					first, err := get(t.Context(), coming.group, key)
					again, errAgain := get(t.Context(), coming.group, key)
					return err == nil && errAgain == nil && first == again && coming.group.CacheStats(groupcache.HotCache).Items == 1
				})
			})
		}
	})
}
