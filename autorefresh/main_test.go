package autorefresh_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	options = autorefresh.Options[int, int]
	cache   = autorefresh.Cache[int, int]
)

var errDown = errors.New("source is down")

// source is a source of counters: each call of a key gives the next number.
type source struct {
	mu       sync.Mutex
	starts   map[int][]time.Time
	inFlight map[int]int
	overlaps int
	calls    int
	cost     time.Duration
	fail     func(key int) error
}

func newSource() *source {
	return &source{starts: make(map[int][]time.Time), inFlight: make(map[int]int)}
}

func (s *source) refresh(ctx context.Context, key, _ int) (int, error) {
	s.mu.Lock()
	s.calls++
	s.starts[key] = append(s.starts[key], time.Now())
	n, cost, fail := len(s.starts[key]), s.cost, s.fail
	if s.inFlight[key]++; s.inFlight[key] > 1 {
		s.overlaps++
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inFlight[key]--
		s.mu.Unlock()
	}()
	if cost > 0 {
		select {
		case <-time.After(cost):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(key); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (s *source) setFail(fail func(int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *source) startsOf(key int) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.starts[key]...)
}

// gaps returns the shortest and the longest time between two calls of the same key.
func (s *source) gaps() (least, most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	least = math.MaxInt64
	for _, starts := range s.starts {
		for i := 1; i < len(starts); i++ {
			gap := starts[i].Sub(starts[i-1])
			least, most = min(least, gap), max(most, gap)
		}
	}
	return least, most
}

// inBubble runs a test with a cache of its own under virtual time.
func inBubble(t *testing.T, o options, refresh autorefresh.RefreshFunc[int, int], test func(t *testing.T, c *cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.New(refresh, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		test(t, c)
	})
}

func mustClose(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

func create(t *testing.T, c *cache, keys ...int) {
	t.Helper()
	for _, key := range keys {
		if _, created, err := c.GetOrCreate(key, 0); err != nil || !created {
			t.Fatalf("GetOrCreate(%d) = %v, %v, want created", key, created, err)
		}
	}
}

func createMany(t *testing.T, c *cache, n int) {
	t.Helper()
	for key := range n {
		create(t, c, key)
	}
}

func wantValue(t *testing.T, c *cache, key, want int) {
	t.Helper()
	if v, ok := c.Get(key); !ok || v != want {
		t.Errorf("Get(%d) = %d, %v, want %d", key, v, ok, want)
	}
}

func wantMiss(t *testing.T, c *cache, key int) {
	t.Helper()
	if v, ok := c.Get(key); ok {
		t.Errorf("Get(%d) = %d, want nothing", key, v)
	}
}

// cut divides a number where long computations are not made in full.
func cut(n, by int) int {
	if whole {
		return n
	}
	return n / by
}

// settle lets time pass and all goroutines come to rest.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
