package memcache_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestBurst tells of 3 000 calls at once to a healthy, idle server: two thirds of the Gets were
// misses and of the Sets errors, because no more than 1 024 were let in. They queue, and what does
// not fit waits for room.
func TestBurst(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "more than the queue holds": 24 << 10, "large": memcache.LargeValue + 1} {
		t.Run(name, func(t *testing.T) {
			fake := testutil.StartFake(t)
			c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, Timeout: time.Minute, ReportUnavailable: true})
			set(t, c)
			if err := fake.Hang(); err != nil {
				t.Fatal(err)
			}
			const callers = 1200
			var calls sync.WaitGroup
			for i := range callers {
				calls.Go(func() {
					if i%2 == 0 {
						if err := c.Set(&memcache.Item{Key: fmt.Sprint("k", i%10), Value: make([]byte, size)}); err != nil {
							t.Errorf("Set: %v", err)
						}
						return
					}
					if _, err := c.Get("k"); err != nil {
						t.Errorf("Get: %v", err)
					}
				})
			}
			eventually(t, "all calls under way", func() bool { return c.Stats()[fake.Addr()].InFlight == callers })
			if err := fake.Release(); err != nil {
				t.Fatal(err)
			}
			calls.Wait()
		})
	}
}

// TestFullQueueEndsInTime: those that wait for room leave with their time limit, or their context,
// and nobody is blamed.
func TestFullQueueEndsInTime(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{Timeout: 500 * time.Millisecond, HangTimeout: -1}, func(t *testing.T, l *lab) {
		check(t, l.fake.Hang())
		start := time.Now()
		var calls sync.WaitGroup
		for i := range 400 {
			calls.Go(func() {
				err := l.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: make([]byte, 32<<10)})
				if !errors.Is(err, memcache.ErrServerDown) || !errors.Is(err, memcache.ErrTimeout) && !errors.Is(err, memcache.ErrBusy) {
					t.Errorf("Set on a full queue: %v, want ErrTimeout or ErrBusy", err)
				}
			})
		}
		calls.Wait()
		// Callers that got room in the last moment are seen by the watch's next tick.
		if took := time.Since(start); took < 500*time.Millisecond || took > 520*time.Millisecond {
			t.Errorf("400 Sets on a hung server took %v with a time limit of 500 ms", took)
		}
		if got := l.State(l.fake.Addr()); got != breaker.Closed {
			t.Errorf("breaker is %v after one time limit", got)
		}
		check(t, l.fake.Release())
	})
}
