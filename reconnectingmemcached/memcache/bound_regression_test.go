package memcache_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// inTime fails the test if a call takes longer than Timeout.
func inTime(t *testing.T, what string, call func()) {
	t.Helper()
	began := time.Now()
	call()
	if took := time.Since(began); took > exploreTimeout {
		t.Errorf("%s took %v, want at most %v", what, took, exploreTimeout)
	}
}

// TestASetThatItsOwnerRefuses tells of Sets that took twice Timeout: a server that had just come
// back took no more calls, the copies on the others were given up at Timeout, and then sent once
// more, with all of the time again.
func TestASetThatItsOwnerRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		o := withGutter()
		o.HangTimeout = -1
		c := f.newProcess(0, o).client
		defer func() { check(t, c.Close()) }()
		check(t, c.Ping())
		owner := f.fakes[0].Addr()
		check(t, f.fakes[0].Kill())
		time.Sleep(time.Second)
		check(t, f.fakes[0].Restart())
		for c.State(owner) != breaker.Closed {
			time.Sleep(time.Millisecond)
		}
		for _, fake := range f.fakes {
			fake.SetFault(testutil.OnVerbs(testutil.AcceptSilent(), "set"))
		}
		var sets sync.WaitGroup
		for i := range 8 { // of which the owner takes four
			key := keyAt(t, c, owner, string(rune('a'+i)))
			sets.Go(func() { inTime(t, "Set", func() { _ = c.Set(&memcache.Item{Key: key}) }) })
		}
		sets.Wait()
	})
}

// TestWhatIsLeftOfACallsTime tells of calls that went on to another server at the end of their
// time, as their own had just gone down: that one had its first look at the time 20 ms later. The
// very first call of a client had all of the time again there, as its clock began at 0.
func TestWhatIsLeftOfACallsTime(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(c *memcache.Client, key string){
		"Get":      func(c *memcache.Client, key string) { _, _ = c.Get(key) },
		"GetMulti": func(c *memcache.Client, key string) { _, _ = c.GetMulti([]string{key}) },
		"Set":      func(c *memcache.Client, key string) { _ = c.Set(&memcache.Item{Key: key}) },
		"Delete":   func(c *memcache.Client, key string) { _ = c.Delete(key) },
		"large Set": func(c *memcache.Client, key string) {
			_ = c.Set(&memcache.Item{Key: key, Value: make([]byte, 100<<10)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, newZipf(1))
				o := withGutter()
				o.HangTimeout, o.Gutter.Beacon = -1, -1
				c := f.newProcess(0, o).client
				defer func() { check(t, c.Close()) }()
				check(t, c.Ping())
				owner := f.fakes[0].Addr()
				for _, fake := range f.fakes {
					fake.SetFault(testutil.OnVerbs(testutil.AcceptSilent(), "gets", "set", "delete"))
				}
				time.AfterFunc(exploreTimeout-3*time.Millisecond, func() { c.ForceDown(owner) })
				inTime(t, name, func() { call(c, keyAt(t, c, owner, "k")) })
			})
		})
	}
}

// TestAHandOverIsPartOfTheCall tells of reads that took up to twice Timeout after a change of the
// list: the owner of before had a time of its own, which follows how long servers take.
func TestAHandOverIsPartOfTheCall(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{Timeout: exploreTimeout, HangTimeout: -1}, func(l *listed) {
		l.set(l.moved[0], "v", 0)
		l.grow()
		for _, fake := range l.fakes {
			fake.SetFault(testutil.Always(testutil.DelayReply(300 * time.Millisecond)))
		}
		for range 10 { // it learns how long the servers take
			_, _ = l.client.Get(l.stays)
		}
		inTime(l.t, "Get", func() { _, _ = l.client.Get(l.moved[0]) })
		inTime(l.t, "GetMulti", func() { _, _ = l.client.GetMulti(l.moved) })
	})
}
