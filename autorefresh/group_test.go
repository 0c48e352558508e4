package autorefresh_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// shards is a source that may be asked for keys of one shard at a time.
type shards struct {
	*testing.T
	of    func(key int) string
	mu    sync.Mutex
	calls int
}

func (s *shards) refresh(_ context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	for i, item := range items {
		if s.of(item.Key) != s.of(items[0].Key) {
			s.Errorf("a call has keys of shards %s and %s", s.of(item.Key), s.of(items[0].Key))
		}
		out[i].Value = item.Key + 1
	}
	time.Sleep(time.Millisecond)
	return nil
}

func (s *shards) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Refreshes, single loads and loads of many never mix groups, and make hardly more calls than they
// have to.
func TestACallIsForOneGroup(t *testing.T) {
	const shardCount, size, period = 50, 20, time.Minute
	synctest.Test(t, func(t *testing.T) {
		s := &shards{T: t, of: func(key int) string { return fmt.Sprint(key % shardCount) }}
		c, err := autorefresh.NewBatch(s.refresh, options{Period: period, BatchSize: 100, GroupBy: s.of})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		keys := rand.Perm(shardCount * size)
		values, err := c.LoadMulti(t.Context(), keys[:len(keys)/2])
		if n := s.count(); err != nil || len(values) != len(keys)/2 || n > shardCount {
			t.Errorf("LoadMulti: %d values with %d calls, %v", len(values), n, err)
		}
		before := s.count()
		var waiting sync.WaitGroup
		for _, key := range keys[len(keys)/2:] {
			waiting.Go(func() {
				if v, err := c.Load(t.Context(), key); v != key+1 || err != nil {
					t.Errorf("Load(%d) = %d, %v", key, v, err)
				}
			})
		}
		waiting.Wait()
		if n := s.count() - before; n > 2*shardCount {
			t.Errorf("%d calls for single loads of %d shards at once", n, shardCount)
		}
		settle(2 * period)
		before = s.count()
		settle(5 * period)
		if n := s.count() - before; n > 5*shardCount*13/10 {
			t.Errorf("%d calls in 5 periods for %d shards", n, shardCount)
		}
		for key := range shardCount * size {
			if e, ok := c.Lookup(key); !ok || time.Since(e.LoadedAt) > period*11/10 {
				t.Errorf("item %d: %v, %v old", key, ok, time.Since(e.LoadedAt))
			}
		}
	})
}

// New, whose calls are for one key, passed over GroupBy without a word.
func TestNewRefusesGroupBy(t *testing.T) {
	o := options{Period: time.Minute, GroupBy: func(int) string { return "" }}
	c, err := autorefresh.New(newSource().refresh, o)
	if err == nil {
		mustClose(t, c)
		t.Fatal("New takes a GroupBy that it does not obey")
	}
	if !strings.Contains(err.Error(), "GroupBy") || !strings.Contains(err.Error(), "NewBatch") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

func TestAGroupByThatPanicsHasOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shards{T: t, of: func(int) string { return "" }}
		c, err := autorefresh.NewBatch(s.refresh, options{Period: time.Minute, GroupBy: func(int) string { panic("no") }})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		if v, err := c.Load(t.Context(), 1); v != 2 || err != nil {
			t.Errorf("Load(1) = %d, %v", v, err)
		}
		settle(5 * time.Minute)
	})
}
