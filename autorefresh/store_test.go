package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
)

// shared is a second level in memory, with leases.
type shared struct {
	mu     sync.Mutex
	values map[string]sharedValue
	leases map[string]time.Time
	down   error
}

type sharedValue struct {
	data []byte
	ends time.Time
}

func newShared() *shared {
	return &shared{values: make(map[string]sharedValue), leases: make(map[string]time.Time)}
}

// begin locks the store, and reports whether it does what it is asked.
func (s *shared) begin(ctx context.Context) error {
	s.mu.Lock()
	return errors.Join(s.down, ctx.Err())
}

func (s *shared) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	if err := s.begin(ctx); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	defer s.mu.Unlock()
	found := make(map[string][]byte)
	for _, key := range keys {
		if v, ok := s.values[key]; ok && time.Now().Before(v.ends) {
			found[key] = v.data
		}
	}
	return found, nil
}

func (s *shared) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	if err := s.begin(ctx); err != nil {
		s.mu.Unlock()
		return err
	}
	defer s.mu.Unlock()
	for key, data := range values {
		s.values[key] = sharedValue{data, time.Now().Add(ttl)}
	}
	return nil
}

func (s *shared) Delete(ctx context.Context, keys ...string) error {
	if err := s.begin(ctx); err != nil {
		s.mu.Unlock()
		return err
	}
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.values, key)
	}
	return nil
}

// leasing is a shared with leases.
type leasing struct{ *shared }

func (s leasing) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	if err := s.begin(ctx); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	defer s.mu.Unlock()
	taken := make(map[string]bool)
	for _, key := range keys {
		if time.Now().Before(s.leases[key]) {
			taken[key] = true
		} else {
			s.leases[key] = time.Now().Add(ttl)
		}
	}
	return taken, nil
}

func (s leasing) Release(ctx context.Context, keys ...string) error {
	if err := s.begin(ctx); err != nil {
		s.mu.Unlock()
		return err
	}
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.leases, key)
	}
	return nil
}

func (s *shared) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func replicas(t *testing.T, n int, o options, refresh autorefresh.RefreshFunc[int, int]) []*cache {
	t.Helper()
	var all []*cache
	for range n {
		c, err := autorefresh.New(refresh, o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func TestReplicasShareRefreshes(t *testing.T) {
	const items, period = 300, 10 * time.Second
	periods := cut(20, 4)
	calls := func(n int, store autorefresh.Store) (count int, oldest time.Duration) {
		s := newSource()
		s.cost = 50 * time.Millisecond
		synctest.Test(t, func(t *testing.T) {
			all := replicas(t, n, options{Period: period, Store: store, Timeout: 5 * time.Second}, s.refresh)
			for _, c := range all {
				createMany(t, c, items)
			}
			settle(2 * period)
			before := s.count()
			for range periods {
				settle(period)
				for _, c := range all {
					for key := range items {
						e, _ := c.Lookup(key)
						oldest = max(oldest, time.Since(e.LoadedAt))
					}
				}
			}
			count = s.count() - before
			if s.overlaps > 0 {
				t.Errorf("%d calls for a key while another was under way", s.overlaps)
			}
			for _, c := range all {
				mustClose(t, c)
			}
		})
		return count, oldest
	}
	one, _ := calls(1, nil)
	three, oldest := calls(3, leasing{newShared()})
	if float64(three) > 1.1*float64(one) {
		t.Errorf("%d calls by three replicas, %d by one, want 10 %% more at most", three, one)
	}
	if oldest > period*11/10 {
		t.Errorf("a value was %v old, want %v at most", oldest, period*11/10)
	}
	t.Logf("three replicas: %.3f times the calls of one; oldest value %v", float64(three)/float64(one), oldest)
}

func TestLoadsAreSharedThroughTheSecondLevel(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	store := leasing{newShared()}
	synctest.Test(t, func(t *testing.T) {
		all := replicas(t, 3, options{Period: time.Minute, Store: store, First: autorefresh.FirstAfterPeriod}, s.refresh)
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				if v, err := c.Load(t.Context(), 1); v != 1 || err != nil {
					t.Errorf("Load(1) = %d, %v, want 1", v, err)
				}
			})
		}
		wg.Wait()
		if s.count() != 1 {
			t.Errorf("%d calls for loads by three replicas, want 1", s.count())
		}
		// What one adopts is due when it is due for the one that loaded it.
		settle(40 * time.Second)
		late := replicas(t, 1, options{Period: time.Minute, Store: store, First: autorefresh.FirstAfterPeriod}, s.refresh)[0]
		_, _ = late.Load(t.Context(), 1)
		e, _ := late.Lookup(1)
		if age := time.Since(e.LoadedAt); age < 40*time.Second {
			t.Errorf("an adopted value is %v old, want the age it has", age)
		}
		settle(26 * time.Second) // one that met another's lease looks again after 4 s
		for _, c := range append(all, late) {
			if e, _ := c.Lookup(1); time.Since(e.LoadedAt) > 30*time.Second {
				t.Errorf("a value is %v old, want it refreshed", time.Since(e.LoadedAt))
			}
			mustClose(t, c)
		}
	})
}

func TestSecondLevelThatIsDown(t *testing.T) {
	s := newSource()
	store := leasing{newShared()}
	inBubble(t, options{Period: 10 * time.Second, Store: store, ShieldRate: 2}, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 100)
		settle(30 * time.Second)
		if n := c.Stats(); n.StoreDown || n.StoreErrors > 0 || n.Updated < 300 {
			t.Errorf("Stats() = %+v", n)
		}
		store.setDown(errDown)
		before := s.count()
		settle(100 * time.Second)
		if n := s.count() - before; n < 190 || n > 215 {
			t.Errorf("%d calls in 100 s with ShieldRate 2, want about 200", n)
		}
		if n := c.Stats(); !n.StoreDown || n.StoreErrors == 0 || n.Items != 100 {
			t.Errorf("Stats() = %+v, want the second level down", n)
		}
		for key := range 100 {
			if _, ok := c.Get(key); !ok {
				t.Fatalf("Get(%d) misses", key)
			}
		}
		store.setDown(nil)
		settle(30 * time.Second)
		if n := c.Stats(); n.StoreDown {
			t.Errorf("Stats() = %+v, want the second level up", n)
		}
	})
}

func TestLoadDoesNotWaitMuchLongerThanTheCallOfAnother(t *testing.T) {
	s := newSource()
	s.cost = 20 * time.Millisecond
	store := leasing{newShared()}
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for _, c := range replicas(t, 2, options{Period: time.Hour, Store: store, First: autorefresh.FirstAfterPeriod}, s.refresh) {
			defer mustClose(t, c)
			wg.Go(func() {
				began := time.Now()
				if _, err := c.Load(t.Context(), 1); err != nil || time.Since(began) > 50*time.Millisecond {
					t.Errorf("Load(1) took %v, error %v; want hardly longer than the call, 20 ms", time.Since(began), err)
				}
			})
		}
		wg.Wait()
		if s.count() != 1 {
			t.Errorf("%d calls, want 1", s.count())
		}
	})
}

func TestShieldServesOldValuesWhenTheSourceIsDown(t *testing.T) {
	s := newSource()
	store := newShared()
	o := options{Period: 10 * time.Second, MaxStale: 10 * time.Minute, Store: store}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(30 * time.Second)
		want, _ := c.Get(1)
		s.setFail(func(int) error { return errDown })
		settle(time.Minute)
		fresh := replicas(t, 1, o, s.refresh)[0]
		defer mustClose(t, fresh)
		for range 3 {
			if v, err := fresh.Load(t.Context(), 1); v != want || err != nil {
				t.Errorf("Load(1) = %d, %v while the source is down, want %d", v, err, want)
			}
			fresh.Delete(2)
		}
		if n := fresh.Stats(); n.LoadsShielded != 1 || n.Items != 1 {
			t.Errorf("Stats() = %+v, want one load shielded", n)
		}
		other := replicas(t, 1, o, s.refresh)[0]
		defer mustClose(t, other)
		settle(10 * time.Minute)
		if v, err := other.Load(t.Context(), 1); err == nil {
			t.Errorf("Load(1) = %d after MaxStale, want an error", v)
		}
	})
}

func TestDeleteReachesTheSecondLevel(t *testing.T) {
	s := newSource()
	s.cost = time.Second
	store := newShared()
	inBubble(t, options{Period: 10 * time.Second, Store: store, First: autorefresh.FirstImmediate}, s.refresh, func(t *testing.T, c *cache) {
		for _, wait := range []time.Duration{500 * time.Millisecond, 5 * time.Second} {
			create(t, c, 1)
			settle(wait)
			c.Delete(1)
			settle(5 * time.Second)
			if v, ok := store.values["1"]; ok { // beside it there is the tombstone
				t.Errorf("deleted %v after it was made: the second level has %q, want nothing", wait, v.data)
			}
		}
	})
}

func TestTerminalAndGoneAreShared(t *testing.T) {
	var calls atomic.Int32
	refresh := func(_ context.Context, key, _ int) (int, error) {
		calls.Add(1)
		if key == 1 {
			return autorefresh.Terminal(7)
		}
		return 0, autorefresh.ErrNotFound
	}
	store := newShared()
	synctest.Test(t, func(t *testing.T) {
		store.values["2"] = sharedValue{}
		all := replicas(t, 2, options{Period: 10 * time.Second, Store: store}, refresh)
		create(t, all[0], 1, 2)
		settle(15 * time.Second)
		if len(store.values) != 1 {
			t.Errorf("the second level has %d values, want the terminal one", len(store.values))
		}
		if v, err := all[1].Load(t.Context(), 1); v != 7 || err != nil {
			t.Errorf("Load(1) = %d, %v, want 7", v, err)
		}
		if e, _ := all[1].Lookup(1); !e.Terminal || calls.Load() != 2 {
			t.Errorf("Lookup(1) = %+v after %d calls, want it adopted as terminal", e, calls.Load())
		}
		for _, c := range all {
			mustClose(t, c)
		}
	})
}

func TestGarbageInTheSecondLevelIsNoValue(t *testing.T) {
	s := newSource()
	store := newShared()
	inBubble(t, options{Period: time.Minute, Store: store}, s.refresh, func(t *testing.T, c *cache) {
		ends := time.Now().Add(time.Hour)
		for key, data := range map[string]string{
			"1": "", "2": "7", "3": sealed(time.Now(), "{"), "4": sealed(time.Now().Add(5*time.Second), "7"),
		} {
			store.values[key] = sharedValue{[]byte(data), ends}
		}
		for key := 1; key <= 4; key++ {
			v, err := c.Load(t.Context(), key)
			want := 1
			if key == 4 {
				want = 7 // from a clock a little ahead of ours: as if it was got now
			}
			if v != want || err != nil {
				t.Errorf("Load(%d) = %d, %v, want %d", key, v, err, want)
			}
		}
		if e, _ := c.Lookup(4); time.Since(e.LoadedAt) < 0 {
			t.Errorf("Lookup(4) = %+v, from the future", e)
		}
		if n := c.Stats(); n.StoreHits != 1 || n.StoreMisses != 3 || n.StoreUndecodable != 3 {
			t.Errorf("Stats() = %+v, want three misses that could not be read and a hit", n)
		}
	})
}

func sealed(loadedAt time.Time, value string) string {
	return string(envelope.Seal(envelope.Envelope{LoadedAt: loadedAt, Value: []byte(value)}))
}

func TestRefusedValueIsNoOutage(t *testing.T) {
	s := newSource()
	store := leasing{newShared()}
	inBubble(t, options{Period: 10 * time.Second, Store: picky{store}}, s.refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2)
		settle(25 * time.Second)
		if n := c.Stats(); n.StoreDown || n.StoreErrors == 0 || n.Updated < 4 || n.Failed > 0 {
			t.Errorf("Stats() = %+v, want refreshes and errors, and the second level up", n)
		}
	})
}

// picky is a store that works and keeps nothing.
type picky struct{ leasing }

func (picky) SetMulti(context.Context, map[string][]byte, time.Duration) error {
	return fmt.Errorf("too large: %w", autorefresh.ErrRefused)
}

func TestRefreshPassesTheSecondLevelBy(t *testing.T) {
	s := newSource()
	store := newShared()
	synctest.Test(t, func(t *testing.T) {
		all := replicas(t, 2, options{Period: time.Hour, Store: store}, s.refresh)
		_, _ = all[0].Load(t.Context(), 1)
		_, _ = all[1].Load(t.Context(), 1)
		time.Sleep(time.Second)
		if err := errors.Join(all[0].Refresh(t.Context(), 1), all[1].Refresh(t.Context(), 1)); err != nil {
			t.Error(err)
		}
		wantValue(t, all[1], 1, 3)
		for _, c := range all {
			mustClose(t, c)
		}
	})
}

func TestRefreshOrderedDuringACallPassesTheSecondLevelByToo(t *testing.T) {
	s, quick := newSource(), newSource()
	s.cost, quick.cost = time.Second, 100*time.Millisecond
	store := newShared()
	o := options{Period: time.Hour, Store: store, First: autorefresh.FirstAfterPeriod}
	synctest.Test(t, func(t *testing.T) {
		all := append(replicas(t, 1, o, s.refresh), replicas(t, 1, o, quick.refresh)...)
		create(t, all[0], 1)
		create(t, all[1], 1)
		var wg sync.WaitGroup
		wg.Go(func() { _ = all[0].Refresh(t.Context(), 1) })
		settle(500 * time.Millisecond)
		wg.Go(func() { _ = all[1].Refresh(t.Context(), 1) }) // what it stores is newer than what the other has
		settle(200 * time.Millisecond)
		if err := all[0].Refresh(t.Context(), 1); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if n := all[0].Stats(); n.Adopted != 0 || n.Updated != 2 {
			t.Errorf("Stats() = %+v, want both values from the source", n)
		}
		for _, c := range all {
			mustClose(t, c)
		}
	})
}
