package autorefresh_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

type weighed = autorefresh.Cache[int, named]

type weighedOptions = autorefresh.Options[int, named]

// repeated is a value whose name has n bytes.
func repeated(letter string, n int) named { return named{Name: strings.Repeat(letter, n)} }

// weigh is a weigher of names that counts its calls.
func weigh(calls *atomic.Int64) func(int, named) uint32 {
	return func(_ int, v named) uint32 {
		calls.Add(1)
		return uint32(len(v.Name))
	}
}

// weightOf is what the items of a cache weigh, negative ones apart.
func weightOf(c *weighed) (sum uint64) {
	for _, v := range c.All() {
		sum += uint64(max(len(v.Name), 1))
	}
	return sum
}

func TestTheWeightOfAllItemsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size, calls := new(atomic.Int64), new(atomic.Int64)
		size.Store(10)
		var removed []autorefresh.Removal[int, named]
		c, err := autorefresh.New(func(_ context.Context, key int, _ named) (named, error) {
			if key < 0 {
				return named{}, autorefresh.ErrNotFound
			}
			return repeated("x", int(size.Load())), nil
		}, weighedOptions{
			Period: time.Minute, MaxWeight: 1000, Weigh: weigh(calls), NegativeTTL: time.Hour,
			OnRemoval: func(r autorefresh.Removal[int, named]) { removed = append(removed, r) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		mustWeigh := func(what string, items int, weight uint64) {
			t.Helper()
			settle(time.Second)
			if s := c.Stats(); s.Items != items || s.Weight != weight || gauge(t, c, "holdfast_autorefresh_weight") != float64(weight) {
				t.Errorf("%s: %d items that weigh %d, metric %v, want %d and %d",
					what, s.Items, s.Weight, gauge(t, c, "holdfast_autorefresh_weight"), items, weight)
			}
		}
		for key := range 50 {
			_, _ = c.Load(t.Context(), key)
		}
		mustWeigh("loaded", 50, 500)
		before := calls.Load()
		for key := range 50 {
			_, _ = c.Get(key)
		}
		if n := calls.Load() - before; n > 0 {
			t.Errorf("50 reads weigh %d times", n)
		}
		size.Store(15)
		settle(2 * time.Minute)
		mustWeigh("refreshed, heavier", 50, 750)
		if err := c.Set(t.Context(), 0, repeated("y", 200)); err != nil {
			t.Fatal(err)
		}
		mustWeigh("one is set, heavier", 50, 935)
		if err := c.Set(t.Context(), 0, repeated("y", 1)); err != nil {
			t.Fatal(err)
		}
		mustWeigh("one is set, lighter", 50, 736)
		_, _ = c.Load(t.Context(), -1)
		mustWeigh("a negative one", 51, 737)
		if len(removed) > 0 {
			t.Errorf("%d items have left, and there was room", len(removed))
		}
		size.Store(100)
		settle(2 * time.Minute)
		if s := c.Stats(); s.Weight > 1000 || s.Items < 8 || s.Evicted == 0 || len(removed) == 0 || removed[0].Cause != autorefresh.CauseEvicted {
			t.Errorf("refreshed, all too heavy together: %d items that weigh %d, %d evicted, removals %v", s.Items, s.Weight, s.Evicted, removed)
		}
	})
}

// A value that is too heavy is answered, and neither kept nor does it push out all others.
func TestAValueHeavierThanTheBoundIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var size, calls atomic.Int64
		size.Store(10)
		c, err := autorefresh.New(func(context.Context, int, named) (named, error) {
			return repeated("x", int(size.Load())), nil
		}, weighedOptions{Period: time.Minute, MaxWeight: 100, Weigh: weigh(&calls), First: autorefresh.FirstAfterPeriod})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		for key := range 5 {
			_, _ = c.Load(t.Context(), key)
		}
		size.Store(101)
		if v, err := c.Load(t.Context(), 9); len(v.Name) != 101 || err != nil {
			t.Errorf("Load of a heavy value = %d bytes, %v", len(v.Name), err)
		}
		if err := c.Set(t.Context(), 8, repeated("y", 101)); err != nil {
			t.Error(err)
		}
		if err := c.Refresh(t.Context(), 4); err != nil {
			t.Error(err)
		}
		settle(time.Second)
		for key := range 10 {
			if _, ok := c.Get(key); ok != (key < 4) {
				t.Errorf("Get(%d): there is one: %v", key, ok)
			}
		}
		if s := c.Stats(); s.Items != 4 || s.Weight != 40 {
			t.Errorf("%d items that weigh %d, want 4 and 40", s.Items, s.Weight)
		}
	})
}

// Whatever is done, once it is done the items weigh what their values do, and no more than they
// may.
func TestTheWeightIsThatOfTheValues(t *testing.T) {
	for seed := range uint64(cut(40, 4)) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			var size, calls atomic.Int64
			c, err := autorefresh.New(func(_ context.Context, key int, old named) (named, error) {
				time.Sleep(time.Duration(key%3) * 50 * time.Millisecond)
				n := size.Add(7) % 90
				switch n % 8 {
				case 0:
					return named{}, autorefresh.ErrNotFound
				case 1:
					return repeated("f", int(n)), autorefresh.ErrTerminal
				case 2:
					return old, errDown
				}
				return repeated("x", int(n)), nil
			}, weighedOptions{
				Period: time.Second, MaxWeight: 1000, Weigh: weigh(&calls), Workers: 4, NoBreaker: true, TerminalTTL: 3 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, c)
			for range 60 {
				for range r.IntN(20) {
					go func(op, key, n int) {
						switch op {
						case 0, 1, 2:
							_, _ = c.Load(context.Background(), key)
						case 3:
							_ = c.Set(context.Background(), key, repeated("y", n))
						case 4:
							_ = c.Refresh(context.Background(), key)
						case 5:
							c.Delete(key)
						case 6:
							_, _, _ = c.GetOrCreate(key, repeated("z", n))
						default:
							c.Get(key)
						}
					}(r.IntN(8), r.IntN(60), r.IntN(120))
				}
				settle(time.Duration(r.IntN(300)) * time.Millisecond)
				if s := c.Stats(); s.Weight > 1000 || s.Weight != weightOf(c) {
					t.Fatalf("seed %d: Stats say %d, the items weigh %d of 1000", seed, s.Weight, weightOf(c))
				}
			}
		})
	}
}

func TestWeightsNeedBothOptions(t *testing.T) {
	heavy := func(int, named) uint32 { return 1 }
	for want, o := range map[string]weighedOptions{
		"Options.Weigh":     {MaxWeight: 1},
		"Options.MaxWeight": {Weigh: heavy},
		"Options.MaxItems":  {MaxWeight: 1, Weigh: heavy, MaxItems: 1000},
		"Options.Overflow":  {MaxWeight: 1, Weigh: heavy, Overflow: autorefresh.Reject},
	} {
		o.Period = time.Hour
		_, err := autorefresh.New(func(context.Context, int, named) (named, error) { return named{}, nil }, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New says %v, want %s named", err, want)
		}
	}
}

// A Weigh that panics breaks nothing, and is not silent: whoever wrote it must hear of it.
func TestAPanicOfWeighCountsAsOne(t *testing.T) {
	log := new(journal)
	c, err := autorefresh.New(func(context.Context, int, named) (named, error) { return named{Name: "v"}, nil }, weighedOptions{
		Period: time.Hour, MaxWeight: 10, Weigh: func(int, named) uint32 { panic("no scale") },
		Logger: log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, c)
	if v, err := c.Load(t.Context(), 1); v.Name != "v" || err != nil {
		t.Errorf("Load = %v, %v", v, err)
	}
	if s := c.Stats(); s.Weight != 1 {
		t.Errorf("it weighs %d", s.Weight)
	}
	if text := log.String(); !strings.Contains(text, "Weigh panicked: no scale") {
		t.Errorf("the log says %q", text)
	}
}

// A value that another process has set weighs what it does here, too.
func TestAnAdoptedValueIsWeighed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options{Period: time.Hour, Store: newWired(t), Watch: true, MaxWeight: 1000, Weigh: func(_, v int) uint32 { return uint32(v) }}
		all := replicas(t, 2, o, new(database).refresh)
		defer mustClose(t, all[0])
		defer mustClose(t, all[1])
		for _, c := range all {
			_ = c.Set(t.Context(), 1, 10)
		}
		_ = all[0].Set(t.Context(), 1, 500)
		settle(time.Second)
		for i, c := range all {
			if w := c.Stats().Weight; w != 500 {
				t.Errorf("process %d: it weighs %d, want 500", i, w)
			}
		}
	})
}
