package autorefresh_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// isBad tells that a callback was given what it panics for.
type isBad bool

// explosive has callbacks, each of which panics for the key "bad" or its value.
type explosive struct{ where string }

func (x explosive) blow(where string, bad isBad) {
	if bool(bad) && where == x.where {
		panic(where + " blew up")
	}
}

func (x explosive) Encode(v string) ([]byte, error) {
	x.blow("Codec.Encode", v == "bad")
	return []byte(v), nil
}

func (x explosive) Decode(data []byte) (string, error) {
	x.blow("Codec.Decode", string(data) == "poison")
	return string(data), nil
}

func (x explosive) Wait(context.Context) error {
	x.blow("Limiter.Wait", true)
	return nil
}

// explosiveStore is a second level that panics.
type explosiveStore struct {
	leasing
	explosive
}

func (s explosiveStore) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	s.blow("Store.GetMulti", true)
	return s.leasing.GetMulti(ctx, keys)
}

func (s explosiveStore) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	s.blow("Store.SetMulti", true)
	return s.leasing.SetMulti(ctx, values, ttl)
}

func (s explosiveStore) Delete(ctx context.Context, keys ...string) error {
	s.blow("Store.Delete", true)
	return s.leasing.Delete(ctx, keys...)
}

func (s explosiveStore) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	s.blow("Store.Lease", true)
	return s.leasing.Lease(ctx, keys, ttl)
}

func (s explosiveStore) Release(ctx context.Context, keys ...string) error {
	s.blow("Store.Release", true)
	return s.leasing.Release(ctx, keys...)
}

func (s explosiveStore) Servers() map[string]error {
	s.blow("Store.Servers", true)
	return map[string]error{"server": nil}
}

// A callback that panics on a goroutine of the cache ended the process: one poisoned value in
// memcached ended every replica that read it.
func TestPanickingCallbacksAreSurvived(t *testing.T) {
	for _, where := range []string{
		"refresh function", "Codec.Encode", "Codec.Decode", "KeyString", "OnEvent", "Limiter.Wait", "Breaker.Classify",
		"Store.GetMulti", "Store.SetMulti", "Store.Delete", "Store.Lease", "Store.Release", "Store.Servers",
	} {
		synctest.Test(t, func(t *testing.T) {
			x, log := explosive{where}, new(journal)
			store := explosiveStore{leasing{newShared()}, x}
			store.values["poison"] = sharedValue{[]byte(sealed(time.Now(), "poison")), time.Now().Add(time.Hour)}
			c, err := autorefresh.New(func(_ context.Context, key, _ string) (string, error) {
				x.blow("refresh function", key == "bad")
				if key == "failing" {
					return "", errDown
				}
				return key, nil
			}, autorefresh.Options[string, string]{
				Name: "explosive", Period: time.Minute, Store: store, Codec: x, Limiter: x, Logger: log.logger(),
				KeyString: func(key string) string { x.blow("KeyString", key == "bad"); return key },
				OnEvent:   func(autorefresh.Event[string]) { x.blow("OnEvent", true) },
				Breaker:   breaker.Options{Classify: func(error) breaker.Outcome { x.blow("Breaker.Classify", true); return breaker.Failure }},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, c)
			for _, key := range []string{"good", "bad", "poison", "failing", "good"} {
				got, err := c.Load(t.Context(), key)
				failing := key == "failing" || where == "Limiter.Wait" || where == "refresh function" && key == "bad"
				if where == "Limiter.Wait" && key == "poison" {
					failing = false // it is there
				}
				if failing != (err != nil) || !failing && got != key {
					t.Errorf("panic in %s: Load(%s) = %q, %v", where, key, got, err)
				}
			}
			settle(5 * time.Minute)
			c.Delete("good")
			_, _ = c.LoadMulti(t.Context(), []string{"good", "bad", "failing"})
			settle(0)
			n := c.Stats()
			switch where {
			case "refresh function":
			case "Codec.Decode":
				if n.StoreUndecodable == 0 || !strings.Contains(log.String(), "cannot be decoded") || !strings.Contains(log.String(), "client=explosive") {
					t.Errorf("Stats() = %+v, log %s: want the poisoned value counted and said", n, log)
				}
			default:
				if !strings.Contains(log.String(), where) && where != "Limiter.Wait" && where != "Store.Servers" {
					t.Errorf("panic in %s: log %s, want it named", where, log)
				}
			}
			if lines := strings.Count(log.String(), "panicked"); lines > 330 {
				t.Errorf("panic in %s: %d lines in 5 minutes, want at most one a second", where, lines)
			}
		})
	}
}

func TestPoisonedValueIsAMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, store := explosive{"Codec.Decode"}, newShared()
		for _, key := range []string{"a", "b"} {
			store.values[key] = sharedValue{[]byte(sealed(time.Now(), "poison")), time.Now().Add(time.Hour)}
		}
		o := autorefresh.Options[string, string]{Period: time.Minute, Store: store, Codec: x, First: autorefresh.FirstImmediate}
		c, err := autorefresh.New(func(_ context.Context, key, _ string) (string, error) { return key, nil }, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, c)
		if v, err := c.Load(t.Context(), "a"); v != "a" || err != nil { // by a load
			t.Errorf("Load(a) = %q, %v, want it from the source", v, err)
		}
		_, _, _ = c.GetOrCreate("b", "old")
		settle(time.Second) // by a refresh
		if v, _ := c.Get("b"); v != "b" {
			t.Errorf("Get(b) = %q, want it from the source", v)
		}
		if n := c.Stats(); n.StoreUndecodable != 2 || n.StoreMisses != 2 || n.StoreHits != 0 {
			t.Errorf("Stats() = %+v, want two misses that could not be decoded", n)
		}
	})
}

func TestEventsGoOnAfterGoexit(t *testing.T) {
	var mu sync.Mutex
	var seen int
	o := options{Period: time.Minute, First: autorefresh.FirstImmediate, OnEvent: func(autorefresh.Event[int]) {
		mu.Lock()
		seen++
		mu.Unlock()
		runtime.Goexit()
	}}
	inBubble(t, o, newSource().refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2, 3)
		settle(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if seen != 3 {
			t.Errorf("OnEvent was told of %d refreshes, want 3", seen)
		}
	})
}

// quitting is a second level that ends the goroutine of some calls.
type quitting struct {
	*wired

	watches, gets atomic.Int64 // how many calls do so
}

func (q *quitting) Watch(ctx context.Context, tell func(autorefresh.Notice)) error {
	if q.watches.Add(-1) >= 0 {
		runtime.Goexit()
	}
	return q.wired.Watch(ctx, tell)
}

func (q *quitting) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	if q.gets.Add(-1) >= 0 {
		runtime.Goexit()
	}
	return q.wired.GetMulti(ctx, keys)
}

// A cache whose Store had once ended a goroutine of its did not hear of changes any more, or did
// not look them up, and held itself for well informed.
func TestAStoreThatEndsItsGoroutineIsFollowedAgain(t *testing.T) {
	for name, which := range map[string]func(*quitting) *atomic.Int64{
		"Watch":    func(q *quitting) *atomic.Int64 { return &q.watches },
		"GetMulti": func(q *quitting) *atomic.Int64 { return &q.gets },
	} {
		synctest.Test(t, func(t *testing.T) {
			d, q := new(database), &quitting{wired: newWired(t)}
			a := replicas(t, 1, options{Period: time.Hour, Store: q.wired, Watch: true}, d.refresh)[0]
			defer mustClose(t, a)
			if name == "Watch" {
				which(q).Store(2)
			}
			b := replicas(t, 1, options{Period: time.Hour, Store: q, Watch: true}, d.refresh)[0]
			defer mustClose(t, b)
			if _, err := b.Load(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			settle(5 * time.Second)
			if name == "GetMulti" {
				which(q).Store(2)
			}
			if err := a.Set(t.Context(), 1, 5); err != nil {
				t.Fatal(err)
			}
			settle(5 * time.Second)
			if n := which(q).Load(); n >= 0 {
				t.Errorf("%s ended no goroutine: %d are left", name, n)
			}
			mustBe(t, b, "set by the other, after "+name+" had ended its goroutine", 5)
		})
	}
}

// The error of a callback that panics belongs to those who wait for it.
func TestPanicOfALimiterIsTheLoadsError(t *testing.T) {
	o := options{Period: time.Minute, Limiter: explosive{"Limiter.Wait"}}
	inBubble(t, o, newSource().refresh, func(t *testing.T, c *cache) {
		_, err := c.Load(t.Context(), 1)
		if err == nil || !strings.Contains(err.Error(), "Limiter.Wait panicked: Limiter.Wait blew up") || errors.Is(err, autorefresh.ErrUnavailable) {
			t.Errorf("Load() = %v", err)
		}
	})
}

// wrapper is an error that wraps another. A nil pointer to it in an error, a slip that is easily
// made, panics when it is asked what it wraps.
type wrapper struct{ cause error }

func (w *wrapper) Error() string { return "wrapped: " + w.cause.Error() }
func (w *wrapper) Unwrap() error { return w.cause }

// An error of the refresh function whose methods panic left a call behind that was taken for stuck:
// looking for its items, the cache froze, for ever and for all.
func TestErrorsWhoseMethodsPanicAreFailures(t *testing.T) {
	var slip *wrapper
	for name, refresh := range map[string]autorefresh.BatchFunc[int, int]{
		"of an item": func(_ context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
			for i, it := range items {
				if out[i] = (autorefresh.Result[int]{Value: it.Key}); it.Key%2 == 1 {
					out[i].Err = slip
				}
			}
			return nil
		},
		"of the call": func(context.Context, []autorefresh.Item[int, int], []autorefresh.Result[int]) error { return slip },
	} {
		synctest.Test(t, func(t *testing.T) {
			c, err := autorefresh.NewBatch(refresh, options{Period: time.Second, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, c)
			createMany(t, c, 4)
			settle(10 * time.Second)
			if n := c.Stats(); n.Failed < 4 || n.Stuck+int(n.Overruns) > 0 || (n.Updated > 0) != (name == "of an item") {
				t.Errorf("%s: Stats() = %+v", name, n)
			}
			if _, err := c.Load(t.Context(), 5); err == nil || name == "of an item" && !strings.Contains(err.Error(), "*autorefresh_test.wrapper panicked") {
				t.Errorf("%s: Load() = %v, want a failure that says why", name, err)
			}
		})
	}
}

// The same of a Store.
type slipping struct{ *shared }

func (slipping) GetMulti(context.Context, []string) (map[string][]byte, error) {
	var slip *wrapper
	return nil, slip
}

func TestStoreWhoseErrorsPanicIsDown(t *testing.T) {
	inBubble(t, options{Period: time.Second, Store: slipping{newShared()}}, newSource().refresh, func(t *testing.T, c *cache) {
		create(t, c, 1)
		settle(5 * time.Second)
		if _, err := c.Load(t.Context(), 2); err != nil || c.Stats().Updated < 4 || c.Stats().StoreErrors < 5 {
			t.Errorf("Load() = %v, %+v", err, c.Stats())
		}
	})
}
