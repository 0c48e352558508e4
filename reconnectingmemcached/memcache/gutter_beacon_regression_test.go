package memcache_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// beaconSets counts the beacons that are set at a server from now on.
func beaconSets(fakes ...*testutil.Fake) *atomic.Int64 {
	n := new(atomic.Int64)
	for _, fake := range fakes {
		fake.SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb == "set" && strings.HasPrefix(cmd.Keys[0], "holdfast:gutter") {
				n.Add(1)
			}
			return testutil.Fault{}
		})
	}
	return n
}

// TestBeaconsOfManyProcesses tells of the fleet of a thousand with a hundred servers down: each
// process set each beacon on each server, every second. One does so for all, once in half of a
// beacon's life.
func TestBeaconsOfManyProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const processes = 12
		f := newFleet(t, newZipf(1))
		key := ""
		var all []*process
		for i := range processes {
			time.Sleep(20 * time.Millisecond) // they are not begun at the same moment
			p := f.newProcess(i, withGutter())
			all = append(all, p)
			check(t, p.client.Ping())
			if key == "" {
				key = keyAt(t, p.client, f.fakes[0].Addr(), "k")
			}
		}
		check(t, f.fakes[0].Kill())
		n := beaconSets(f.fakes[1:]...)
		for _, p := range all {
			_, _ = p.client.Get(key)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		first := n.Swap(0)
		time.Sleep(70 * time.Second)
		t.Logf("%d processes: %d Sets in the first ten seconds, %d in seventy seconds then", processes, first, n.Load())
		// Two servers, and two keys: the beacon, and the one that says that it is fresh.
		if first > processes || n.Load() > 2*processes {
			t.Errorf("%d processes: %d Sets in the first ten seconds, %d in seventy seconds then, want few", processes, first, n.Load())
		}
		for _, p := range all {
			check(t, p.client.Close())
		}
	})
}

// TestBeaconsThatOthersSet: writes see to copies for as long as any process stores some, though one
// has its beacons set for it by others, which end one after the other.
func TestBeaconsThatOthersSet(t *testing.T) {
	t.Parallel()
	for _, expiration := range []time.Duration{time.Second, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			o := memcache.Options{Timeout: exploreTimeout, Gutter: memcache.Gutter{Expiration: expiration}}
			f := newFleet(t, newZipf(1))
			writer, reader := f.newProcess(0, o), f.newProcess(1, o)
			check(t, writer.client.Ping())
			key := keyAt(t, writer.client, f.fakes[0].Addr(), "k")
			beside := []*process{f.newProcess(2, o), f.newProcess(3, o)}
			for _, p := range append(beside, reader) {
				check(t, p.client.Ping())
				p.cut(0, true)
				_, _ = p.client.Get(key)
			}
			time.Sleep(3 * time.Second)
			for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(170 * time.Millisecond) {
				if at := time.Since(began); len(beside) > 0 && at > time.Duration(3-len(beside))*15*time.Second {
					check(t, beside[0].client.Close())
					beside = beside[1:]
				}
				version := strconv.FormatInt(time.Now().UnixNano(), 10)
				check(t, writer.client.Set(&memcache.Item{Key: key, Value: []byte(version)}))
				if it, err := reader.client.Get(key); err == nil {
					t.Fatalf("copies that live %v: after %v, Get = %q, which was overwritten", expiration, time.Since(began), it.Value)
				} else if !errors.Is(err, memcache.ErrCacheMiss) {
					t.Fatal(err)
				}
				check(t, reader.client.Set(&memcache.Item{Key: key, Value: []byte(version)}))
			}
			check(t, writer.client.Close())
			check(t, reader.client.Close())
		})
	}
}

// TestBeaconOfAnOutageThatIsOver lives for as long as the last copies do, though it was set long
// before them: a process that begins after the outage sees to copies, too.
func TestBeaconOfAnOutageThatIsOver(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{28 * time.Second, 85 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			o := memcache.Options{Timeout: exploreTimeout, Gutter: memcache.Gutter{Expiration: time.Minute}}
			f := newFleet(t, newZipf(1))
			first := f.newProcess(0, o)
			c := first.client
			check(t, c.Ping())
			key := keyAt(t, c, f.fakes[0].Addr(), "k")
			first.cut(0, true)
			_, _ = c.Get(key)
			time.Sleep(outage)
			check(t, c.Set(&memcache.Item{Key: key, Value: []byte("old")}))
			first.cut(0, false)
			time.Sleep(50 * time.Second)
			second := f.newProcess(1, o)
			check(t, second.client.Ping())
			time.Sleep(1500 * time.Millisecond)
			check(t, anyMiss(second.client.Delete(key)))
			if it, err := c.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Get = %+v, %v after another's Delete, want a miss", it, err)
			}
			check(t, c.Close())
			check(t, second.client.Close())
		})
	}
}

// TestBeaconOfALongAddress: the key of such a server's beacon did not fit, and it had none.
func TestBeaconOfALongAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		long := strings.Repeat("a.", 123) + "internal:11211"
		o := withGutter()
		o.Servers = []string{long, f.fakes[1].Addr(), f.fakes[2].Addr()}
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			i := slices.Index(o.Servers, addr)
			return f.fakes[i].Dial(ctx, network, f.fakes[i].Addr())
		}
		c, err := memcache.NewWithOptions(nil, o)
		check(t, err)
		check(t, c.Ping())
		key := keyAt(t, c, long, "k")
		n := beaconSets(f.fakes[1:]...)
		check(t, f.fakes[0].Kill())
		for range 3 {
			_, _ = c.Get(key)
		}
		time.Sleep(2 * time.Second)
		if n.Load() == 0 {
			t.Errorf("no beacon of a server whose address has %d bytes", len(long))
		}
		check(t, c.Close())
	})
}

// TestBeaconsOfDifferentExpirations tells of a fleet in which Expiration is raised, process by
// process: a beacon that stands for copies of ten seconds was good enough for a process whose
// copies live five minutes, and those that wrote looked after them for as long as it stood.
func TestBeaconsOfDifferentExpirations(t *testing.T) {
	t.Parallel()
	for _, shortIsFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			long := memcache.Options{Timeout: exploreTimeout, Gutter: memcache.Gutter{Expiration: 5 * time.Minute}}
			short := memcache.Options{Timeout: exploreTimeout, Gutter: memcache.Gutter{Expiration: 10 * time.Second}}
			f := newFleet(t, newZipf(1))
			reader, other, writer := f.newProcess(0, long), f.newProcess(1, short), f.newProcess(2, short)
			down := []*process{other, reader}
			if !shortIsFirst {
				slices.Reverse(down)
			}
			for _, p := range []*process{reader, other, writer} {
				check(t, p.client.Ping())
			}
			key := keyAt(t, writer.client, f.fakes[0].Addr(), "k")
			for _, p := range down {
				p.cut(0, true)
				_, _ = p.client.Get(key)
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(20 * time.Second)
			check(t, reader.client.Set(&memcache.Item{Key: key, Value: []byte("old")}))
			reader.cut(0, false)
			time.Sleep(50 * time.Second) // in which the other sets the beacon again, for all
			other.cut(0, false)
			time.Sleep(2 * time.Minute)
			check(t, anyMiss(writer.client.Delete(key)))
			if it, err := reader.client.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Get = %+v, %v after another's Delete, want a miss", it, err)
			}
			for _, p := range []*process{reader, other, writer} {
				check(t, p.client.Close())
			}
		})
	}
}
