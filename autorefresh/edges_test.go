package autorefresh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
	"github.com/holdfast-go/holdfast/breaker"
)

// A batch function that assigns values only has given results. A zero value alone is none: nothing
// tells it from an item left out.
func TestBatchResultsThatAreValuesAlone(t *testing.T) {
	type row = named
	fill := func(_ context.Context, items []autorefresh.Item[int, row], out []autorefresh.Result[row]) error {
		for i, item := range items {
			switch item.Key % 5 {
			case 0:
				out[i].Value = row{Name: "alone"}
			case 1:
				out[i].Value.Value = 7
			case 2:
				out[i] = autorefresh.Result[row]{}
			case 3:
				out[i].Value, out[i].Err = row{Name: "final"}, autorefresh.ErrTerminal
			}
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.NewBatch(fill, autorefresh.Options[int, row]{Period: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		for key := range 100 {
			if _, _, err := c.GetOrCreate(key, row{Name: "first"}); err != nil {
				t.Fatal(err)
			}
		}
		settle(2 * time.Minute)
		for key := range 100 {
			want := [5]row{{Name: "alone"}, {Value: 7}, {}, {Name: "final"}, {Name: "first"}}[key%5]
			if got, _ := c.Get(key); got != want {
				t.Errorf("Get(%d) = %+v, want %+v", key, got, want)
			}
		}
		if n := c.Stats(); n.Failing != 20 || n.Source != breaker.Closed {
			t.Errorf("Stats() = %+v, want 20 failing", n)
		}
		if v, err := c.Load(t.Context(), 1000); err != nil || v.Name != "alone" {
			t.Errorf("Load(1000) = %+v, %v", v, err)
		}
		if _, err := c.Load(t.Context(), 1004); !errors.Is(err, autorefresh.ErrNoResult) {
			t.Errorf("Load(1004): %v, want ErrNoResult", err)
		}
	})
}

// Entries that say "not there" keep nothing out that is there.
func TestNegativeEntriesYield(t *testing.T) {
	source := func(_ context.Context, key, _ int) (int, error) {
		if key < 0 {
			return 0, autorefresh.ErrNotFound
		}
		return key, nil
	}
	for _, overflow := range []autorefresh.Overflow{autorefresh.Reject, autorefresh.Evict} {
		o := options{Period: time.Minute, MaxItems: 100, Overflow: overflow, NegativeTTL: time.Hour}
		inBubble(t, o, source, func(t *testing.T, c *cache) {
			for i := range 150 {
				if _, err := c.Load(t.Context(), -1-i); !errors.Is(err, autorefresh.ErrNotFound) {
					t.Fatalf("Load(%d): %v", -1-i, err)
				}
			}
			var callers sync.WaitGroup
			for key := range 50 {
				if overflow == autorefresh.Evict { // what comes at once is for the storage to weigh
					callers.Wait()
				}
				callers.Go(func() {
					if _, _, err := c.GetOrCreate(key, key); err != nil {
						t.Errorf("%v: GetOrCreate(%d) beside negative entries: %v", overflow, key, err)
					}
				})
				if overflow == autorefresh.Evict {
					callers.Wait()
				}
				callers.Go(func() { _, _ = c.Load(t.Context(), 50+key) })
			}
			callers.Wait()
			settle(time.Second)
			if n := c.Stats(); n.Items != 100 || n.Absent != 0 || n.Evicted != 0 && overflow == autorefresh.Reject {
				t.Errorf("%v: Stats() = %+v, want 100 items, none of them negative", overflow, n)
			}
			_, _ = c.Load(t.Context(), -1000)
			settle(time.Second)
			if n := c.Stats(); overflow == autorefresh.Reject && n.Absent != 0 || n.Items > 100 {
				t.Errorf("%v: Stats() = %+v after one more key that is not there", overflow, n)
			}
			_, _, err := c.GetOrCreate(1000, 1)
			if full := errors.Is(err, autorefresh.ErrFull); full != (overflow == autorefresh.Reject) {
				t.Errorf("%v: GetOrCreate of item 101: %v", overflow, err)
			}
		})
	}
}

func TestRefreshAsksForWhatWasNotThere(t *testing.T) {
	s := newSource()
	s.setFail(func(int) error { return autorefresh.ErrNotFound })
	inBubble(t, options{Period: time.Hour, NegativeTTL: time.Hour}, s.refresh, func(t *testing.T, c *cache) {
		_, _ = c.Load(t.Context(), 1)
		_, _ = c.Load(t.Context(), 2)
		if err := c.Refresh(t.Context(), 1); !errors.Is(err, autorefresh.ErrNotFound) || s.count() != 3 {
			t.Errorf("Refresh(1) = %v after %d calls, want ErrNotFound from a third", err, s.count())
		}
		s.setFail(nil)
		if err := c.Refresh(t.Context(), 1, 2); err != nil {
			t.Errorf("Refresh(1, 2) = %v", err)
		}
		if _, ok := c.Get(1); !ok {
			t.Error("Get(1) misses after Refresh")
		}
		if _, ok := c.Get(2); !ok {
			t.Error("Get(2) misses after Refresh")
		}
	})
}

// A key that is not equal to itself would be stored for ever and found never.
func TestKeysThatAreNotEqualToThemselvesAreRefused(t *testing.T) {
	type point struct{ X, Y float64 } // among keys of any type: a cache of points takes long to compile
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.New(func(context.Context, any, any) (any, error) { return 1, nil }, autorefresh.Options[any, any]{Period: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		bad := point{1, math.NaN()}
		for range 10 {
			if _, _, err := c.GetOrCreate(bad, 1); !errors.Is(err, autorefresh.ErrBadKey) {
				t.Errorf("GetOrCreate: %v, want ErrBadKey", err)
			}
			if _, err := c.Load(t.Context(), bad); !errors.Is(err, autorefresh.ErrBadKey) {
				t.Errorf("Load: %v, want ErrBadKey", err)
			}
			got, err := c.LoadMulti(t.Context(), []any{point{1, 2}, bad})
			if !errors.Is(err, autorefresh.ErrBadKey) || got[point{1, 2}] != 1 {
				t.Errorf("LoadMulti: %v, %v, want the other and ErrBadKey", got, err)
			}
			if err := c.Refresh(t.Context(), bad); !errors.Is(err, autorefresh.ErrBadKey) {
				t.Errorf("Refresh: %v, want ErrBadKey", err)
			}
			if c.Delete(bad) {
				t.Error("Delete found it")
			}
		}
		if n := c.Stats(); n.Items != 1 || n.Loads != 1 {
			t.Errorf("Stats() = %+v, want one item", n)
		}
	})
}

func TestBadNameIsCleaned(t *testing.T) {
	c, err := autorefresh.New(func(context.Context, int, int) (int, error) { return 1, nil }, options{Period: time.Second, Name: "caf\xe9"})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, c)
	r := prometheus.NewRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
}

// The log says why.
func TestTheSourcesErrorIsToldEverywhere(t *testing.T) {
	expired := errors.New("x509: certificate has expired")
	s := newSource()
	var log bytes.Buffer
	o := options{Period: time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil)), NegativeTTL: time.Minute}
	inBubble(t, o, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 50)
		settle(2 * time.Second)
		if n := c.Stats(); n.LastError != nil || !n.LastErrorAt.IsZero() {
			t.Errorf("Stats() = %+v, want no error yet", n)
		}
		s.setFail(func(int) error { return expired })
		settle(time.Minute)
		n := c.Stats()
		if !errors.Is(n.LastError, expired) || time.Since(n.LastErrorAt) > 10*time.Second {
			t.Errorf("Stats().LastError = %v at %v", n.LastError, n.LastErrorAt)
		}
		if !strings.Contains(log.String(), "x509") {
			t.Errorf("the log does not say why: %s", log.String())
		}
		for c.Breaker().State() != breaker.Open {
			settle(time.Millisecond)
		}
		_, loaded := c.Load(t.Context(), 1000)
		for what, err := range map[string]error{"Load": loaded, "Refresh": c.Refresh(t.Context(), 1)} {
			if !errors.Is(err, autorefresh.ErrUnavailable) || !errors.Is(err, breaker.ErrOpen) || !strings.Contains(fmt.Sprint(err), "x509") {
				t.Errorf("%s: %v, want ErrUnavailable, breaker.ErrOpen, and why", what, err)
			}
		}
		c.Breaker().ForceOpen()
		settle(time.Second)
		if err := c.Refresh(t.Context(), 1); !errors.Is(err, autorefresh.ErrUnavailable) || strings.Contains(fmt.Sprint(err), "x509") {
			t.Errorf("Refresh of a source that is forced open: %v", err)
		}
	})
	inBubble(t, options{Period: time.Second, NoBreaker: true}, s.refresh, func(t *testing.T, c *cache) {
		if _, err := c.Load(t.Context(), 1); err == nil || !errors.Is(c.Stats().LastError, expired) || c.Breaker() != nil {
			t.Errorf("without a breaker: %v, Stats().LastError = %v", err, c.Stats().LastError)
		}
	})
}

// The value of a machine whose clock is an hour ahead would be young for an hour and a period.
func TestValueOfTheFutureIsAMiss(t *testing.T) {
	for _, x := range []struct {
		ahead time.Duration
		want  int
	}{{time.Hour, 1}, {7 * time.Second, 1}, {5 * time.Second, 99}, {0, 99}} {
		s, store := newSource(), newShared()
		inBubble(t, options{Period: time.Minute, Store: store}, s.refresh, func(t *testing.T, c *cache) {
			data := envelope.Seal(envelope.Envelope{LoadedAt: time.Now().Add(x.ahead), Value: []byte("99")})
			store.values["1"] = sharedValue{data, time.Now().Add(time.Hour)}
			v, err := c.Load(t.Context(), 1)
			if err != nil || v != x.want {
				t.Errorf("%v ahead: Load = %d, %v, want %d", x.ahead, v, err, x.want)
			}
			n := c.Stats()
			if (n.StoreAhead == 1) != (x.want == 1) || n.StoreMisses != n.StoreAhead || n.StoreUndecodable != 0 {
				t.Errorf("%v ahead: Stats() = %+v", x.ahead, n)
			}
		})
	}
}
