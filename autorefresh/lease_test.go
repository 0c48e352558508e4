package autorefresh_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func TestLeaseOfAProcessThatIsGoneEnds(t *testing.T) {
	s := newSource()
	store := leasing{newShared()}
	inBubble(t, options{Period: time.Minute, Timeout: 3 * time.Second, Store: store}, s.refresh, func(t *testing.T, c *cache) {
		_, _ = store.Lease(t.Context(), []string{"1"}, 2*time.Second)
		begin := time.Now()
		if v, err := c.Load(t.Context(), 1); v != 1 || err != nil {
			t.Errorf("Load(1) = %d, %v, want 1", v, err)
		}
		if d := time.Since(begin); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("Load(1) took %v, want until the lease ended", d)
		}
	})
}

// begunCall has a call for key 1 under way, with its lease.
func begunCall(t *testing.T, s *source, store leasing, test func(t *testing.T, c *cache)) {
	t.Helper()
	s.cost = time.Second
	o := options{Period: time.Minute, Timeout: 10 * time.Minute, Store: store, First: autorefresh.FirstImmediate}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(500 * time.Millisecond)
		if len(store.leases) != 1 {
			t.Fatalf("leases %v while a call is under way, want one", store.leases)
		}
		test(t, c)
		if len(store.leases) != 0 {
			t.Errorf("leases %v, want none", store.leases)
		}
	})
}

func TestLeaseOfAnOutageEndsWithIt(t *testing.T) {
	store := leasing{newShared()}
	begunCall(t, newSource(), store, func(t *testing.T, c *cache) {
		store.setDown(errDown)
		settle(5 * time.Second)
		if len(store.leases) != 1 {
			t.Errorf("leases %v while the store is down, want one", store.leases)
		}
		store.setDown(nil)
		if _, err := c.Load(t.Context(), 2); err != nil { // finds the store back
			t.Error(err)
		}
	})
}

func TestLeaseEndsWithClose(t *testing.T) {
	store := leasing{newShared()}
	begunCall(t, newSource(), store, func(t *testing.T, c *cache) { mustClose(t, c) })
}

// slow is a store that takes leases at once, and says so a moment later.
type slow struct{ leasing }

func (s slow) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	taken, err := s.leasing.Lease(ctx, keys, ttl)
	select {
	case <-time.After(20 * time.Millisecond):
		return taken, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// late is a store that a request for a lease reaches a moment after it was made.
type late struct{ leasing }

func (s late) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	time.Sleep(20 * time.Millisecond)
	return s.leasing.Lease(ctx, keys, ttl)
}

// A process that had found nothing, and got the lease when the one that had it before had got the
// value, loaded it a second time.
func TestAValueThatCameBeforeTheLeaseIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newSource(), leasing{newShared()}
		s.cost = 5 * time.Millisecond
		first, err := autorefresh.New(s.refresh, options{Period: time.Minute, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, first)
		second, err := autorefresh.New(s.refresh, options{Period: time.Minute, Store: late{store}})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, second)
		var both sync.WaitGroup
		for _, c := range []*cache{first, second} {
			both.Go(func() {
				if v, err := c.Load(t.Context(), 1); v != 1 || err != nil {
					t.Errorf("Load(1) = %d, %v, want 1", v, err)
				}
			})
		}
		both.Wait()
		if n := s.count(); n != 1 || len(store.leases) != 0 {
			t.Errorf("%d calls of the source, and leases %v; want 1, and none", n, store.leases)
		}
		if n := second.Stats(); n.StoreHits != 1 || n.StoreMisses != 1 {
			t.Errorf("%d hits and %d misses, want one each: the first look, and the second", n.StoreHits, n.StoreMisses)
		}
	})
}

// A caller who left while the lease was being asked for left it behind: for as long as Timeout lets
// a call take, no process loaded the key.
func TestLeaseOfACallerWhoLeftEnds(t *testing.T) {
	s := newSource()
	store := slow{leasing{newShared()}}
	inBubble(t, options{Period: time.Minute, Store: store}, s.refresh, func(t *testing.T, c *cache) {
		for key := range 20 { // some leave at the moment when they have it
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(10+key%2*10)*time.Millisecond)
			if _, err := c.Load(ctx, key); err != nil && !errors.Is(err, context.DeadlineExceeded) || err == nil && key%2 == 0 {
				t.Errorf("Load(%d) = %v, want the caller's deadline", key, err)
			}
			cancel()
			settle(time.Second)
			if len(store.leases) != 0 || key == 0 && s.count() != 0 {
				t.Errorf("leases %v after %d calls, want none", store.leases, s.count())
			}
		}
		begin := time.Now()
		if v, err := c.Load(t.Context(), 0); v != 1 || err != nil || time.Since(begin) > time.Second {
			t.Errorf("Load() = %d, %v after %v, want it at once", v, err, time.Since(begin))
		}
	})
}

// So did a refresh function that ended its goroutine, as t.FailNow does.
func TestLeaseOfACallThatDoesNotReturnEnds(t *testing.T) {
	store := leasing{newShared()}
	exits := func(context.Context, int, int) (int, error) { runtime.Goexit(); return 0, nil }
	o := options{Period: time.Minute, Store: store, First: autorefresh.FirstImmediate, NoBreaker: true}
	inBubble(t, o, exits, func(t *testing.T, c *cache) {
		if _, err := c.Load(t.Context(), 1); !errors.Is(err, autorefresh.ErrPanicked) {
			t.Errorf("Load() = %v, want ErrPanicked", err)
		}
		create(t, c, 2)
		for range 100 { // no longer: what has failed is tried again at any time of a period
			if settle(time.Millisecond); c.Stats().Failed != 0 {
				break
			}
		}
		if n := c.Stats(); len(store.leases) != 0 || n.Failed != 1 {
			t.Errorf("leases %v, %+v, want no lease", store.leases, n)
		}
	})
}
