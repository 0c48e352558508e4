package memcache_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

const (
	loadGoroutines = 32
	loadKeys       = 600
)

// tally is what the callers of one server saw.
type tally struct {
	hits, misses       atomic.Int64
	refused            atomic.Int64 // reads and writes that were not sent, because the server was known to be down or is being re-admitted
	failed             atomic.Int64 // reads and writes that were tried and got no answer
	failedWrites       atomic.Int64 // the writes of these: what an application sees as an error
	other              atomic.Int64 // any other error
	slowest, totalTime atomic.Int64 // nanoseconds
}

// load drives reads and a tenth of writes against three servers.
type load struct {
	client  *memcache.Client
	byIndex [3]tally
	stop    chan struct{}
	workers sync.WaitGroup
}

func loadKey(i int) string { return fmt.Sprint("load:", i) }

// serverOf is gomemcache's choice: CRC-32 of the key modulo the number of servers.
func serverOf(key string) int { return int(crc32.ChecksumIEEE([]byte(key)) % 3) }

// keyOf returns the i-th key that goes to server s.
func keyOf(s, i int) string {
	for n := 0; ; n++ {
		key := fmt.Sprintf("key%d:%d", i, n)
		if serverOf(key) == s {
			return key
		}
	}
}

// startLoad fills the servers and starts the callers. The client must be a reporting one.
func startLoad(t *testing.T, c *memcache.Client) *load {
	t.Helper()
	l := &load{client: c, stop: make(chan struct{})}
	for i := range loadKeys {
		eventually(t, "Set before the fault", func() bool { return c.Set(&memcache.Item{Key: loadKey(i), Value: []byte("value")}) == nil })
	}
	for g := range loadGoroutines {
		l.workers.Go(func() { l.work(rand.New(rand.NewPCG(uint64(g), 3))) })
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.workers.Wait()
}

func (l *load) work(random *rand.Rand) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		key := loadKey(random.IntN(loadKeys))
		server := &l.byIndex[serverOf(key)]
		start := time.Now()
		var err error
		write := random.IntN(10) == 0
		if write {
			err = l.client.Set(&memcache.Item{Key: key, Value: []byte("value")})
		} else {
			_, err = l.client.Get(key)
		}
		if failed := server.count(time.Since(start), err); failed && write {
			server.failedWrites.Add(1)
		}
	}
}

// count reports whether the call was tried in vain.
func (s *tally) count(took time.Duration, err error) (failed bool) {
	s.totalTime.Add(int64(took))
	for {
		slowest := s.slowest.Load()
		if int64(took) <= slowest || s.slowest.CompareAndSwap(slowest, int64(took)) {
			break
		}
	}
	var down *memcache.ServerDownError
	switch {
	case err == nil:
		s.hits.Add(1)
	case errors.Is(err, memcache.ErrCacheMiss):
		s.misses.Add(1)
	case errors.As(err, &down) && !down.Sent && (!down.Since.IsZero() || errors.Is(err, memcache.ErrBusy)):
		s.refused.Add(1)
	case errors.As(err, &down):
		s.failed.Add(1)
		return true
	default:
		s.other.Add(1)
	}
	return false
}

// view is a tally at one moment, or the difference of two.
type view struct {
	hits, misses, refused, failed, failedWrites, other int64
	slowest, totalTime                                 time.Duration
}

// take returns what has happened since the last take.
func (s *tally) take() view {
	return view{
		s.hits.Swap(0), s.misses.Swap(0), s.refused.Swap(0), s.failed.Swap(0), s.failedWrites.Swap(0), s.other.Swap(0),
		time.Duration(s.slowest.Swap(0)), time.Duration(s.totalTime.Swap(0)),
	}
}

func (v view) String() string {
	return fmt.Sprintf("hits %d, misses %d, refused %d, failed %d (writes %d), other %d, slowest %v, goroutine time %v",
		v.hits, v.misses, v.refused, v.failed, v.failedWrites, v.other, v.slowest.Round(time.Microsecond), v.totalTime.Round(time.Millisecond))
}

// healthyShare is the share of answered calls at the servers other than the broken one.
func (l *load) healthyShare(broken int) (share float64, slowest time.Duration) {
	var good, all int64
	for i := range l.byIndex {
		if i != broken {
			v := l.byIndex[i].take()
			good += v.hits
			all += v.hits + v.misses + v.refused + v.failed + v.other
			slowest = max(slowest, v.slowest)
		}
	}
	return float64(good) / float64(max(all, 1)), slowest
}

func (l *load) reset() {
	for i := range l.byIndex {
		l.byIndex[i].take()
	}
}

// threeServers starts three real memcached, each behind a proxy if asked for.
func threeServers(t *testing.T) ([]testutil.Server, []string) {
	t.Helper()
	servers := make([]testutil.Server, 3)
	addrs := make([]string, 3)
	for i := range servers {
		servers[i] = testutil.StartMemcached(t)
		addrs[i] = servers[i].Addr()
	}
	return servers, addrs
}

// percentile of sorted or unsorted durations.
func percentile(times []time.Duration, p float64) time.Duration {
	sorted := slices.Clone(times)
	slices.Sort(sorted)
	return sorted[int(float64(len(sorted)-1)*p)]
}
