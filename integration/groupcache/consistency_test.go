package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// seed is that of HOLDFAST_SEED, or another one each time.
func seed(t *testing.T) uint64 {
	t.Helper()
	s, err := strconv.ParseUint(os.Getenv("HOLDFAST_SEED"), 10, 64)
	if err != nil {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("HOLDFAST_SEED=%d", s)
	return s
}

// workload lets two clients at each node read and write one key.
type workload struct {
	cluster  *cluster
	key      string
	steps    int
	pause    time.Duration // between two steps, at most
	history  history
	versions atomic.Int64
}

func (w *workload) run(t *testing.T, seed uint64) {
	t.Helper()
	var clients sync.WaitGroup
	for i := range 2 * len(w.cluster.nodes) {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for range w.steps {
				w.step(t, i, random)
				if random.IntN(2) == 0 {
					runtime.Gosched()
				} else if w.pause > 0 {
					time.Sleep(time.Duration(random.Int64N(int64(w.pause))))
				}
			}
		})
	}
	clients.Wait()
}

// step does one write, or one Get: of a caller that can leave, cannot, or does.
func (w *workload) step(t *testing.T, client int, random *rand.Rand) {
	n := w.cluster.nodes[client%len(w.cluster.nodes)]
	ctx := t.Context()
	switch what := random.IntN(20); what {
	case 0, 1, 2, 3:
		version := int(w.versions.Add(1))
		w.history.write(client, version, func() bool {
			err := w.cluster.write(ctx, n, w.key, version, what)
			if err != nil && !errors.Is(err, groupcache.ErrPeerUnavailable) {
				t.Errorf("a write: %v", err)
			}
			return err == nil
		})
		return
	case 4, 5:
		limited, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(int(time.Millisecond))))
		defer cancel()
		ctx = limited
	case 6, 7, 8, 9:
		ctx = context.Background() //nolint:usetesting // one that cannot end
	}
	w.history.get(client, func() (int, bool) {
		version, err := n.read(ctx, w.key)
		if err != nil && !leaves(err) {
			t.Errorf("Get: %v", err)
		}
		return version, err == nil
	})
}

// patient has a busy machine be no silent peer.
func patient(o *groupcache.Options) { o.Silence, o.PeerTimeout = 5*time.Second, time.Minute }

// With five peers the last two of a key are told at the same time.
func TestGetsSeeWhatWasWrittenBefore(t *testing.T) {
	seed := seed(t)
	for _, size := range []int{3, 5} {
		t.Run(fmt.Sprint(size, " peers"), func(t *testing.T) {
			c := startCluster(t, size, patient)
			for i, owner := range c.nodes {
				w := &workload{cluster: c, key: c.ownedBy(t, owner, fmt.Sprint("key ", i)), steps: 200, pause: 300 * time.Microsecond}
				w.run(t, seed+uint64(i))
				w.history.check(t)
				if n := w.history.counts.failed; n > w.history.counts.writes/10 {
					t.Errorf("%d writes failed", n)
				}
			}
		})
	}
}

// So many keys of one owner are asked for at once that their requests are shared.
func TestGetsOfManyKeysSeeWhatWasWrittenBefore(t *testing.T) {
	seed := seed(t)
	c := startCluster(t, 3, patient)
	all := make([]*workload, 16)
	var running sync.WaitGroup
	for i := range all {
		w := &workload{cluster: c, key: c.ownedBy(t, c.nodes[0], fmt.Sprint("key ", i)), steps: 50, pause: 100 * time.Microsecond}
		all[i] = w
		running.Go(func() { w.run(t, seed+uint64(i)) })
	}
	running.Wait()
	for _, w := range all {
		w.history.check(t)
	}
}

// One node is cut off and restored time and again: its own clients go on, as do those of the
// others.
func TestGetsSeeWhatWasWrittenBeforeWhileAPeerIsCutOff(t *testing.T) {
	seed := seed(t)
	for _, role := range []string{"owner", "other"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel() // most of the time they wait
			c := startCluster(t, 3, func(o *groupcache.Options) { o.PeerTimeout = 300 * time.Millisecond })
			victim := c.nodes[0]
			key := c.ownedBy(t, victim, "key")
			if role == "other" {
				key = c.ownedBy(t, c.nodes[1], "key")
			}
			w := &workload{cluster: c, key: key, steps: 400, pause: 4 * time.Millisecond}
			over := make(chan struct{})
			var knife sync.WaitGroup
			knife.Go(func() { cutAndRestore(t, victim, rand.New(rand.NewPCG(seed, 99)), over) })
			w.run(t, seed)
			close(over)
			knife.Wait()
			w.checkAfterCuts(t)
		})
	}
}

// zones has nodes be in three zones by turns.
func zones(adapt func(*groupcache.Options)) func(*groupcache.Options) {
	next := 0
	return func(o *groupcache.Options) {
		adapt(o)
		o.Zone = []string{"a", "b", "c"}[next%3]
		next++
	}
}

// Nodes in three zones ask different ones of those that stand in for the owner: one that is cut off
// and restored time and again.
func TestGetsSeeWhatWasWrittenBeforeWhileZonesAskTheirOwnStandIns(t *testing.T) {
	seed := seed(t)
	c := startCluster(t, 6, zones(func(o *groupcache.Options) { o.PeerTimeout, o.Handover = 300*time.Millisecond, -1 }))
	w := &workload{cluster: c, key: c.ownedBy(t, c.nodes[0], "key"), steps: 300, pause: 4 * time.Millisecond}
	over := make(chan struct{})
	var knife sync.WaitGroup
	knife.Go(func() { cutAndRestore(t, c.nodes[0], rand.New(rand.NewPCG(seed, 97)), over) })
	w.run(t, seed)
	close(over)
	knife.Wait()
	w.checkAfterCuts(t)
}

// The same while the owner is only busy: most writes succeed, and take away what was there before.
func TestGetsSeeWhatWasWrittenBeforeWhileZonesAskAroundABusyOwner(t *testing.T) {
	seed := seed(t)
	c := startCluster(t, 6, zones(func(o *groupcache.Options) { patient(o); o.MaxInFlight, o.Handover = 1, -1 }))
	for i := range 5 {
		w := &workload{cluster: c, key: c.ownedBy(t, c.nodes[0], fmt.Sprint("key ", i)), steps: 200, pause: 300 * time.Microsecond}
		w.run(t, seed+uint64(i))
		w.history.check(t)
	}
	var stoodIn int64
	for _, n := range c.nodes[1:] {
		stoodIn += n.group.Stats.ServerRequests.Get()
	}
	if stoodIn == 0 {
		t.Error("no stand-in was asked")
	}
}

// checkAfterCuts checks a history in which one node was cut off at times, which is restored now.
func (w *workload) checkAfterCuts(t *testing.T) {
	t.Helper()
	w.history.check(t)
	if w.history.counts.failed == 0 { // connections for frames outlived the cuts, once
		t.Error("all writes reached a node that was cut off")
	}
	w.cluster.converges(t, w.key)
}

// cutAndRestore ends with the node restored.
func cutAndRestore(t *testing.T, n *node, random *rand.Rand, over <-chan struct{}) {
	for wait := time.Duration(0); ; wait = time.Duration(50+random.IntN(250)) * time.Millisecond {
		select {
		case <-over:
			return
		case <-time.After(wait):
		}
		n.cut()
		time.Sleep(time.Duration(20+random.IntN(100)) * time.Millisecond)
		if err := n.restore(t.Context()); err != nil {
			t.Error(err)
			return
		}
	}
}

// converges writes until that succeeds; then all must see exactly that.
func (c *cluster) converges(t *testing.T, key string) {
	t.Helper()
	version := 1_000_000
	eventually(t, "a write succeeds", func() bool {
		version++
		err := c.write(t.Context(), c.nodes[1], key, version, version)
		if err != nil && !strings.Contains(err.Error(), c.nodes[0].url) {
			t.Errorf("a write: %v, but all others are there", err)
		}
		return err == nil
	})
	for i, n := range c.nodes {
		if got, err := n.read(t.Context(), key); got != version || err != nil {
			t.Errorf("node %d sees %d, %v; want %d", i, got, err, version)
		}
	}
}

// One node leaves the others' lists and comes back time and again, each of them hears of it at
// another moment, and it hands over what it has. Its own clients go on, as do those of the others.
func TestGetsSeeWhatWasWrittenBeforeWhileAPeerComesAndGoes(t *testing.T) {
	seed := seed(t)
	for _, role := range []string{"owner", "other"} {
		t.Run(role, func(t *testing.T) {
			c := startCluster(t, 4, nil)
			restless := c.nodes[0]
			key := c.ownedBy(t, restless, "key")
			if role == "other" {
				key = c.ownedBy(t, c.nodes[1], "key")
			}
			w := &workload{cluster: c, key: key, steps: 500, pause: 300 * time.Microsecond}
			over := make(chan struct{})
			var changes sync.WaitGroup
			changes.Go(func() { c.comeAndGo(t, restless, rand.New(rand.NewPCG(seed, 98)), over) })
			w.run(t, seed)
			close(over)
			changes.Wait()
			w.history.check(t)
			if n := w.history.counts.failed; n > w.history.counts.writes/10 {
				t.Errorf("%d writes failed", n)
			}
		})
	}
}

// comeAndGo takes a node off the lists, its own included, and puts it on them again.
func (c *cluster) comeAndGo(t *testing.T, restless *node, random *rand.Rand, over <-chan struct{}) {
	t.Helper()
	var all, others []string
	for _, n := range c.nodes {
		all = append(all, n.url)
		if n != restless {
			others = append(others, n.url)
		}
	}
	for round := 0; ; round++ {
		urls := all
		if round%2 == 0 {
			urls = others
			if err := restless.instance.Drain(t.Context()); err != nil {
				t.Errorf("drain: %v", err)
			}
		}
		for _, i := range random.Perm(len(c.nodes)) {
			if err := c.nodes[i].instance.SetPeers(urls...); err != nil {
				t.Error(err)
			}
			select {
			case <-over:
				return
			case <-time.After(time.Duration(random.Int64N(int64(3 * time.Millisecond)))):
			}
		}
	}
}
