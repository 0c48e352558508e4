package stampede_test

import (
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/stampede"
)

func TestRequestsGoToTheProcessesThatAreUpInTurn(t *testing.T) {
	r := stampede.NewRotation(3)
	taken := func() (count [3]int) {
		for range 6 {
			i := r.Take()
			r.Done(i)
			count[i]++
		}
		return count
	}
	if got := taken(); got != [3]int{2, 2, 2} {
		t.Errorf("six requests go to %v, want two each", got)
	}
	r.Drain(t.Context(), 1, time.Hour)
	if got := taken(); got != [3]int{3, 0, 3} {
		t.Errorf("without the second, six requests go to %v, want three each", got)
	}
	r.Add(1)
	r.Add(1)
	if got := taken(); got != [3]int{2, 2, 2} || len(r.All()) != 3 {
		t.Errorf("with it again, six requests go to %v of %v, want two each", got, r.All())
	}
}

func TestAProcessIsDrainedBeforeSomethingIsDoneToIt(t *testing.T) {
	for _, c := range []struct{ request, limit, want time.Duration }{
		{50 * time.Millisecond, time.Second, 50 * time.Millisecond},
		{time.Minute, time.Second, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := stampede.NewRotation(2)
			process := r.Take()
			time.AfterFunc(c.request, func() { r.Done(process) })
			begin := time.Now()
			r.Drain(t.Context(), process, c.limit)
			if took := time.Since(begin).Round(10 * time.Millisecond); took != c.want {
				t.Errorf("a process with a request of %v was drained after %v, want %v", c.request, took, c.want)
			}
			if got := r.All(); !slices.Equal(got, []int{1 - process}) {
				t.Errorf("%v are up, want only the other one", got)
			}
			time.Sleep(c.request)
		})
	}
}

func TestTheDatabaseCountsLoadsAndKnowsItsValues(t *testing.T) {
	var loads atomic.Int64
	o := stampede.Options{Options: drill.Options{ValueSize: 20}, Cost: time.Millisecond, Slots: 1}
	d, err := stampede.NewDatabase(t.Context(), o, 5, func() { loads.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	load := func(key string) []byte {
		t.Helper()
		v, err := fetch(t, d.URL()+"?key="+url.QueryEscape(key))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(v)
	}
	old := load(stampede.KeyOf(4, 17))
	if len(old) != 20 || loads.Load() != 0 {
		t.Errorf("a value of %d bytes, %d loads; want 20 and none before it is charged for", len(old), loads.Load())
	}
	d.Charge()
	d.Change(4)
	fresh := load(stampede.KeyOf(4, 0))
	if loads.Load() != 1 {
		t.Errorf("%d loads, want 1", loads.Load())
	}
	time.Sleep(time.Millisecond)
	for name, c := range map[string]struct {
		value []byte
		grace time.Duration
		want  bool
	}{
		"the old value":                  {old, 0, true},
		"the old value, within its time": {old, time.Hour, false},
		"the new value":                  {fresh, 0, false},
		"something else":                 {[]byte("something"), time.Hour, true},
	} {
		if got := d.Outdated(4, c.value, c.grace); got != c.want {
			t.Errorf("%s is outdated: %t, want %t", name, got, c.want)
		}
	}
	for _, key := range []string{"", "x", "a:b:c", stampede.KeyOf(5, 0), stampede.KeyOf(-1, 0)} {
		if got := string(load(key)); got != "no such key\n" || loads.Load() != 1 {
			t.Errorf("%q is answered with %q, %d loads; want that there is none", key, got, loads.Load())
		}
	}
}
