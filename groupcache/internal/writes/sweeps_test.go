package writes_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

func TestSweepsCoverKeysUntilTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s writes.Sweeps
		expect := func(when, key string, want bool) {
			t.Helper()
			if got := s.Covers(key); got != want {
				t.Errorf("%s: Covers(%q) = %v", when, key, got)
			}
		}
		expect("at first", "ab", false)
		s.Begin("1", "a")
		expect("one", "ab", true)
		s.Begin("2", "ab")
		expect("two", "ac", true)
		expect("two", "b", false)
		s.End("1")
		expect("one", "ac", false)
		expect("one", "abc", true)
		time.Sleep(time.Minute)
		expect("the writer has died", "abc", false)
		for i := range 1000 {
			s.Begin(fmt.Sprint(i), "x")
		}
		expect("too many", "y", true)
		time.Sleep(time.Minute)
		expect("long after too many", "y", false)
	})
}

func TestTouchedPrefixes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		touched := writes.NewTouched(time.Minute)
		touched.AddPrefix("a")
		if !touched.Has("ab") || touched.Has("b") {
			t.Error("one prefix")
		}
		for i := range 100 {
			touched.AddPrefix(fmt.Sprint("c", i))
		}
		if !touched.Has("b") {
			t.Error("too many prefixes to know")
		}
		time.Sleep(2 * time.Minute)
		if touched.Has("ab") || touched.Has("b") {
			t.Error("two minutes later")
		}
	})
}

func TestMissedPrefixes(t *testing.T) {
	var m writes.Missed
	prefix := writes.Removal{Group: "g", Key: "a", Prefix: true}
	m.Add(prefix, writes.Removal{Group: "g", Key: "a"})
	r, at, ok := m.NextPrefix()
	if !ok || r != prefix {
		t.Fatalf("%+v, %v", r, ok)
	}
	m.Add(prefix) // missed once more while it is told
	m.SettlePrefix(r, at)
	if r, at, ok = m.NextPrefix(); !ok {
		t.Fatal("the second one is lost")
	}
	m.SettlePrefix(r, at)
	group, keys := m.Next()
	if _, _, ok := m.NextPrefix(); ok || group != "g" || len(keys) != 1 {
		t.Errorf("%q, %v", group, keys)
	}
	m.Settle(group, keys)
	if m.Pending() {
		t.Error("there is more")
	}
}

// What a peer says does not fill the memory. Keys that are covered without need are merely loaded
// more often.
func TestWhatIsKeptOfPrefixesIsBounded(t *testing.T) {
	long := strings.Repeat("a", 1<<18)
	var s writes.Sweeps
	touched := writes.NewTouched(time.Minute)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 64 {
		prefix := fmt.Sprint(i, long)
		s.Begin(fmt.Sprint(i), prefix)
		touched.AddPrefix(prefix)
		if !s.Covers(prefix+"b") || !touched.Has(prefix+"b") || s.Covers("b") || touched.Has("b") {
			t.Fatal("the wrong keys")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes", grown)
	}
	runtime.KeepAlive(&s)
	runtime.KeepAlive(touched)
}

func TestASweepIsChecked(t *testing.T) {
	for _, s := range []writes.Sweep{{Phase: writes.Begin, ID: strings.Repeat("x", 65)}, {Phase: "many"}, {}} {
		if s.Check() == nil {
			t.Errorf("%+v is let through", s)
		}
	}
	for _, phase := range []writes.Phase{writes.Begin, writes.End, writes.Once} {
		s := writes.Sweep{Phase: phase, ID: strings.Repeat("x", 64), Prefix: "\x00\xff"}
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
