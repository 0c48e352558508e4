package store_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

func TestExpiry(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		synctest.Test(t, func(t *testing.T) {
			s := store.New(o)
			if s.Put(store.Item{Key: "past", Expire: time.Now().UnixNano()}) {
				t.Error("Add of what has expired = true, want false")
			}
			end := time.Now().Add(time.Minute).UnixNano()
			s.Put(store.Item{Key: "key", Value: "v", Expire: end})
			add(t, s, "always", "v")
			time.Sleep(time.Minute - 1)
			if v, ok := s.Get("key"); !ok || v != (store.View{Value: "v", Expire: end}) {
				t.Errorf("Get just before = %+v, %v, want it with its expiry", v, ok)
			}
			time.Sleep(time.Nanosecond)
			if _, ok := s.Peek("key"); ok {
				t.Error("Peek just after = true, want false")
			}
			wantMiss(t, s, "key")
			want(t, s, "always", "v")
			if st := s.Stats(); st.Expired != 1 || st.Items != 1 || st.Evictions != 0 {
				t.Errorf("Stats() = %+v, want one expired, one left", st)
			}
			check(t, s)
		})
	})
}

func TestAddOfAnExpiredValueRemovesTheOld(t *testing.T) {
	s := store.New(store.Options{MaxBytes: 1 << 20})
	add(t, s, "key", "v")
	if s.Put(store.Item{Key: "key", Value: "w", Expire: -1}) {
		t.Error("Add of what expired before 1970 = true, want false")
	}
	wantMiss(t, s, "key")
	if st := s.Stats(); st.Refused != 0 {
		t.Errorf("%d refused, want 0", st.Refused)
	}
}

func TestStaleValuesAreAnsweredForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.New(store.Options{MaxBytes: 1 << 20, Stale: time.Minute})
		s.Put(store.Item{Key: "key", Value: "v", Expire: time.Now().Add(time.Second).UnixNano()})
		for _, step := range []struct {
			wait        time.Duration
			there, late bool
		}{{time.Second - 1, true, false}, {1, true, true}, {time.Minute - 1, true, true}, {1, false, false}} {
			time.Sleep(step.wait)
			peeked, found := s.Peek("key")
			got, ok := s.Get("key")
			if ok != step.there || got.Stale != step.late || found != ok || peeked != got {
				t.Errorf("after %v: Get = %+v, %v, Peek = %+v, %v, want %v, stale %v", step.wait, got, ok, peeked, found, step.there, step.late)
			}
			if swept := s.Sweep(1); swept != 0 {
				t.Errorf("after %v: Sweep = %d, want 0", step.wait, swept)
			}
		}
	})
}

func TestSweepRemovesTheExpired(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		synctest.Test(t, func(t *testing.T) {
			o.MaxBytes, o.Shards, o.Stale = 32<<20, 4, time.Second
			s := store.New(o)
			n := cut(20_000, 2)
			for i := range n {
				it := store.Item{Key: fmt.Sprint(i)}
				if i%2 == 0 {
					it.Expire = time.Now().Add(time.Minute).UnixNano()
				}
				s.Put(it)
			}
			time.Sleep(time.Minute)
			if got := s.Sweep(1 << 30); got != 0 {
				t.Errorf("Sweep of stale entries = %d, want 0", got)
			}
			time.Sleep(time.Second)
			rounds, removed := 0, 0
			for removed < n/2 {
				got := s.Sweep(100)
				if got == 0 || got > 1024 {
					t.Fatalf("Sweep(100) = %d after %d, want some, of one table", got, removed)
				}
				removed += got
				rounds++
			}
			if got := s.Sweep(1 << 30); got != 0 {
				t.Errorf("Sweep = %d after all, want 0", got)
			}
			if st := s.Stats(); st.Items != int64(n/2) || st.Expired != int64(n/2) || rounds < n/1024 {
				t.Errorf("Stats() = %+v after %d sweeps, want %d items, as many expired, more sweeps", st, rounds, n/2)
			}
			check(t, s)
		})
	})
}

func TestOneLargeSweepSeesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.New(store.Options{MaxBytes: 32 << 20, Shards: 4})
		for _, first := range []int{1, 3000, 9000} { // bytes to look at, so that the large sweep begins anywhere
			n := cut(20_000, 2)
			for i := range n {
				s.Put(store.Item{Key: fmt.Sprint(i), Expire: time.Now().Add(time.Minute).UnixNano()})
			}
			s.Sweep(first)
			time.Sleep(time.Minute)
			if got := s.Sweep(1 << 30); got != n {
				t.Errorf("Sweep after Sweep(%d) = %d, want %d", first, got, n)
			}
		}
	})
}

// The clock is asked between finding an entry and acting on it, so that here others come between.
func TestAnEntryMayGoWhileItIsRead(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		for _, now := range []time.Time{time.Unix(1, 0), time.Unix(3, 0)} { // before and after its expiry
			for name, meanwhile := range map[string]func(*store.Store){
				"Remove":  func(s *store.Store) { s.Remove("key") },
				"Clear":   func(s *store.Store) { s.Clear() },
				"replace": func(s *store.Store) { s.Put(store.Item{Key: "key", Value: "new"}) },
			} {
				clock := func() time.Time { return time.Unix(0, 0) }
				o.Now = func() time.Time { return clock() }
				s := store.New(o)
				s.Put(store.Item{Key: "key", Expire: time.Unix(2, 0).UnixNano()})
				clock = func() time.Time { meanwhile(s); return now }
				_, _ = s.Get("key")
				add(t, s, "other", "v")
				if err := s.Check(); err != nil {
					t.Errorf("%s during Get at %v: %v", name, now.Unix(), err)
				}
				if v, ok := s.Peek("key"); ok != (name == "replace") || v.Expire != 0 {
					t.Errorf("%s during Get at %v: Peek = %+v, %v", name, now.Unix(), v, ok)
				}
				if got := s.Stats().Expired; got != 0 {
					t.Errorf("%s during Get at %v: %d expired, want 0", name, now.Unix(), got)
				}
			}
		}
	})
}
