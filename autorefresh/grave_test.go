package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

type delivery struct {
	name   string
	store  func() autorefresh.Store
	action func(other *cache) // of the other process
}

// A call of another process that read the source before it was written to brought the old value
// back, for nine tenths of a period.
func TestDeletedValueDoesNotComeBackFromAnotherProcess(t *testing.T) {
	refresh := func(other *cache) { _ = other.Refresh(context.Background(), 1) }
	load := func(other *cache) {
		other.Delete(1) // of its own: what counts is the other's
		_, _ = other.Load(context.Background(), 1)
	}
	plain := func() autorefresh.Store { return newShared() }
	withLeases := func() autorefresh.Store { return leasing{newShared()} }
	withMarks := func() autorefresh.Store { return marking{leasing{newShared()}} }
	for _, x := range []delivery{
		{"refresh with leases", withLeases, refresh},
		{"refresh without leases", plain, refresh},
		{"refresh with marks", withMarks, refresh},
		{"load with leases", withLeases, load},
		{"load without leases", plain, load},
		{"load with marks", withMarks, load},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, after := range []time.Duration{1, 50 * time.Millisecond, 199 * time.Millisecond} {
				synctest.Test(t, func(t *testing.T) {
					var database atomic.Int64
					var slow atomic.Bool
					source := func(context.Context, int, int) (int, error) {
						v := database.Load()
						if slow.Load() {
							time.Sleep(200 * time.Millisecond)
						}
						return int(v), nil
					}
					all := replicas(t, 3, options{Period: 10 * time.Minute, Store: x.store(), First: autorefresh.FirstAfterPeriod}, source)
					defer mustClose(t, all[0])
					defer mustClose(t, all[1])
					defer mustClose(t, all[2])
					_, _ = all[0].Load(t.Context(), 1)
					_, _ = all[1].Load(t.Context(), 1)
					slow.Store(true)
					go x.action(all[1])
					time.Sleep(after)
					database.Store(1)
					all[0].Delete(1)
					slow.Store(false)
					if v, err := all[0].Load(t.Context(), 1); v != 1 || err != nil {
						t.Errorf("%v: Load right after Delete = %d, %v, want what the source has", after, v, err)
					}
					all[0].Delete(1)
					time.Sleep(time.Second)
					for i, c := range all[:1] {
						if v, err := c.Load(t.Context(), 1); v != 1 || err != nil {
							t.Errorf("%v: process %d: Load a second later = %d, %v, want what the source has", after, i, v, err)
						}
					}
					// A value got after the deletion is shared as ever.
					before := all[2].Stats().StoreHits
					if v, err := all[2].Load(t.Context(), 1); v != 1 || err != nil || all[2].Stats().StoreHits != before+1 {
						t.Errorf("%v: Load of a third process = %d, %v, want it adopted", after, v, err)
					}
				})
			}
		})
	}
}

var errStoreDown = errors.New("connection refused")

// A second level that is down is told of deletions when it is back, before it is read from.
func TestDeletionInAnOutageOfTheSecondLevelIsMadeUpFor(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 5 * time.Minute} {
		store := leasing{newShared()}
		var database atomic.Int64
		source := func(context.Context, int, int) (int, error) { return int(database.Load()), nil }
		synctest.Test(t, func(t *testing.T) {
			all := replicas(t, 2, options{Period: 10 * time.Minute, Store: store, First: autorefresh.FirstAfterPeriod}, source)
			a, b := all[0], all[1]
			defer mustClose(t, a)
			defer mustClose(t, b)
			for key := range 10 {
				_, _ = a.Load(t.Context(), key)
			}
			store.setDown(errStoreDown)
			database.Store(1)
			for key := range 5 {
				if found, err := a.DeleteContext(t.Context(), key); !found || !errors.Is(err, errStoreDown) {
					t.Errorf("DeleteContext(%d) = %v, %v, want true and the store's error", key, found, err)
				}
			}
			time.Sleep(after)
			store.setDown(nil)
			for key := range 5 {
				if v, err := a.Load(t.Context(), key); v != 1 || err != nil {
					t.Errorf("%v: Load(%d) = %d, %v, want what the source has", after, key, v, err)
				}
			}
			time.Sleep(time.Second)
			_, _ = a.Load(t.Context(), 100)
			for key := range 5 {
				if v, err := b.Load(t.Context(), key); v != 1 || err != nil {
					t.Errorf("%v: Load(%d) of another process = %d, %v, want what the source has", after, key, v, err)
				}
			}
			if found, err := a.DeleteContext(t.Context(), 1); !found || err != nil {
				t.Errorf("DeleteContext = %v, %v once the store is back", found, err)
			}
		})
	}
}

// More deletions than can be remembered make all values of that time suspect.
func TestManyDeletionsInAnOutageOfTheSecondLevel(t *testing.T) {
	store := leasing{newShared()}
	var version atomic.Int64
	source := func(context.Context, string, string) (string, error) { return fmt.Sprint(version.Load()), nil }
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.New(source, autorefresh.Options[string, string]{Period: time.Hour, Store: store, First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		_, _ = c.Load(t.Context(), "last")
		time.Sleep(time.Second)
		store.setDown(errStoreDown)
		for key := range 1 << 14 {
			c.Delete(fmt.Sprint(key))
		}
		version.Store(1)
		c.Delete("last")
		store.setDown(nil)
		if v, err := c.Load(t.Context(), "last"); v != "1" || err != nil {
			t.Errorf("Load = %q, %v, want what the source has", v, err)
		}
	})
}

// marking is a leasing that looks at marks and stores in one step.
type marking struct{ leasing }

func (s marking) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	if err := s.begin(ctx); err != nil {
		s.mu.Unlock()
		return err
	}
	defer s.mu.Unlock()
	for key, v := range values {
		mark, ok := s.values[v.Mark]
		if ok = ok && time.Now().Before(mark.ends); !ok || string(mark.data) == string(v.Seen) {
			s.values[key] = sharedValue{v.Value, time.Now().Add(ttl)}
		}
	}
	return nil
}

// distant is a marking that is some way away, and counts its calls.
type distant struct {
	marking
	way   time.Duration
	calls *atomic.Int32
}

// far has a call take its way there and back.
func (s distant) far(call func() error) error {
	s.calls.Add(1)
	time.Sleep(s.way)
	defer time.Sleep(s.way)
	return call()
}

func (s distant) GetMulti(ctx context.Context, keys []string) (found map[string][]byte, err error) {
	err = s.far(func() error {
		found, err = s.marking.GetMulti(ctx, keys)
		return err
	})
	return found, err
}

func (s distant) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	return s.far(func() error { return s.marking.SetMulti(ctx, values, ttl) })
}

func (s distant) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	return s.far(func() error { return s.marking.SetUnlessMarked(ctx, values, ttl) })
}

func (s distant) Delete(ctx context.Context, keys ...string) error {
	return s.far(func() error { return s.marking.Delete(ctx, keys...) })
}

// A value that was stored just after it was deleted was there for others until the second look: for
// a round trip of a process that is farther away than the one that deletes.
func TestDeletedValueIsNeverThereAgainWithMarks(t *testing.T) {
	for deleted := time.Duration(0); deleted < 300*time.Millisecond; deleted += 2 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			var database atomic.Int64
			source := func(context.Context, int, int) (int, error) {
				defer time.Sleep(100 * time.Millisecond)
				return int(database.Load()), nil
			}
			store := marking{leasing{newShared()}}
			near, far := distant{store, time.Millisecond, new(atomic.Int32)}, distant{store, 20 * time.Millisecond, new(atomic.Int32)}
			o := options{Period: 10 * time.Minute, First: autorefresh.FirstAfterPeriod}
			o.Store = near
			a := replicas(t, 1, o, source)[0]
			defer mustClose(t, a)
			o.Store = far
			b := replicas(t, 1, o, source)[0]
			defer mustClose(t, b)
			_, _ = a.Load(t.Context(), 1)
			if n := near.calls.Load(); n != 3 {
				t.Errorf("a load calls the store %d times, want 3: two looks and what stores the value", n)
			}
			_, _ = b.Load(t.Context(), 1)
			go func() { _ = b.Refresh(context.Background(), 1) }()
			time.Sleep(deleted)
			database.Store(1)
			a.Delete(1)
			for range 300 {
				found, _ := store.GetMulti(t.Context(), []string{"1"})
				if data := found["1"]; len(data) > 0 && data[len(data)-1] == '0' {
					t.Fatalf("deleted after %v: the old value is in the second level after the end of Delete", deleted)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}
