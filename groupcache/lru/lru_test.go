package lru_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/groupcache/lru"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is the expiry of what does not expire.
func never() time.Time { return time.Time{} }

func wantValue(t *testing.T, c *lru.Cache, key lru.Key, want any) {
	t.Helper()
	if got, ok := c.Get(key); got != want || ok != (want != nil) {
		t.Errorf("Get(%v) = %v, %v, want %v", key, got, ok, want)
	}
}

func TestKeysAreWhateverIsComparable(t *testing.T) {
	type pair struct {
		n int
		s string
	}
	c := lru.New(0)
	c.Add("key", 1, never())
	c.Add(pair{1, "a"}, 2, never())
	c.Add(1, 3, never())
	wantValue(t, c, "key", 1)
	wantValue(t, c, pair{1, "a"}, 2)
	wantValue(t, c, 1, 3)
	wantValue(t, c, pair{1, "b"}, nil)
	wantValue(t, c, int64(1), nil)
}

func TestZeroValueIsReady(t *testing.T) {
	var c lru.Cache
	wantValue(t, &c, "key", nil)
	c.Remove("key")
	c.RemoveOldest()
	c.Clear()
	if c.Len() != 0 {
		t.Errorf("Len() = %d, want 0", c.Len())
	}
	c.Add("past", 1, time.Unix(1, 0))
	wantValue(t, &c, "past", nil)
	c.Add("key", 1, time.Now().Add(time.Hour))
	wantValue(t, &c, "key", 1)
	c.Clear()
	wantValue(t, &c, "key", nil)
	c.Add("key", 2, never())
	wantValue(t, &c, "key", 2)
}

func TestOnEvictedSeesAllThatLeaves(t *testing.T) {
	var left []string
	c := lru.New(2)
	c.OnEvicted = func(key lru.Key, value any) { left = append(left, fmt.Sprint(key, value)) }
	now := time.Unix(10, 0)
	c.Now = func() time.Time { return now }
	for _, step := range []struct {
		do   func()
		want []string
	}{
		{func() { c.Add("a", 1, never()); c.Add("b", 2, time.Unix(11, 0)) }, nil},
		{func() { c.Add("a", 3, never()) }, []string{"a1"}},
		{func() { c.Add("c", 4, never()) }, []string{"b2"}},
		{func() { c.Remove("a"); c.Remove("a") }, []string{"a3"}},
		{func() { c.Add("d", 5, time.Unix(11, 0)); now = time.Unix(11, 1); c.Get("d") }, []string{"d5"}},
		{func() { c.Add("e", 6, never()); c.RemoveOldest() }, []string{"c4"}},
		{func() { c.Clear() }, []string{"e6"}},
	} {
		left = nil
		if step.do(); !slices.Equal(left, step.want) {
			t.Errorf("OnEvicted saw %q, want %q", left, step.want)
		}
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lru.New(0)
		c.Add("key", 1, time.Now().Add(time.Second))
		time.Sleep(time.Second)
		wantValue(t, c, "key", 1) // it expires after that moment, not at it
		time.Sleep(time.Nanosecond)
		if c.Len() != 1 {
			t.Errorf("Len() = %d before the expired is touched, want 1", c.Len())
		}
		wantValue(t, c, "key", nil)
		if c.Len() != 0 {
			t.Errorf("Len() = %d after, want 0", c.Len())
		}
	})
}

func TestTheLeastRecentlyUsedGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 5).Draw(t, "limit")
		c := lru.New(limit)
		var recent []int // the last used is last
		forget := func(key int) { recent = slices.DeleteFunc(recent, func(k int) bool { return k == key }) }
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			key := rapid.IntRange(0, 9).Draw(t, "key")
			there := slices.Contains(recent, key)
			switch rapid.IntRange(0, 30).Draw(t, "what") {
			case 0:
				c.Remove(key)
				forget(key)
			case 1:
				c.RemoveOldest()
				recent = recent[min(1, len(recent)):]
			case 2:
				c.Clear()
				recent = nil
			case 3, 4, 5, 6, 7, 8, 9, 10:
				if got, ok := c.Get(key); ok != there || ok && got != -key {
					t.Fatalf("Get(%d) = %v, %v of %v", key, got, ok, recent)
				}
				if forget(key); there {
					recent = append(recent, key)
				}
			default:
				c.Add(key, -key, never())
				forget(key)
				recent = append(recent, key)
				if limit > 0 {
					recent = recent[max(0, len(recent)-limit):]
				}
			}
			if c.Len() != len(recent) {
				t.Fatalf("Len() = %d, want %v", c.Len(), recent)
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	c := lru.New(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Add(i, nil, never())
	}
}
