package peer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// fake is a transport whose answers a test gives.
type fake struct {
	mu      sync.Mutex
	get     func(ctx context.Context, alive func()) (wire.Answer, error)
	tell    func(ctx context.Context) error
	link    func(ctx context.Context, bytes int) error // of the keys that are removed; nil for a fast one
	telling telling
	probe   func() (wire.Greeting, error)
	explore func() wire.Way
	removed []string
	apart   bool  // RemoveMulti is a request for each key
	batches []int // numbers of keys
	forgot  int
	closed  bool
}

func (f *fake) with(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func (f *fake) Get(ctx context.Context, _, _ string, alive func()) (wire.Answer, error) {
	var get func(context.Context, func()) (wire.Answer, error)
	f.with(func() { get = f.get })
	return get(ctx, alive)
}

func (f *fake) GetMulti(ctx context.Context, group string, keys []string, alive func()) ([]wire.Answer, error) {
	a, err := f.Get(ctx, group, "", alive)
	return slices.Repeat([]wire.Answer{a}, len(keys)), err
}

// GetCached knows the keys that begin with "c".
func (f *fake) GetCached(ctx context.Context, _ string, keys []string) ([]wire.Answer, error) {
	if err := f.told(ctx); err != nil {
		return nil, err
	}
	answers := make([]wire.Answer, len(keys))
	f.with(func() { f.batches = append(f.batches, len(keys)) })
	for i, key := range keys {
		answers[i] = wire.Answer{Outcome: wire.Absent}
		if strings.HasPrefix(key, "c") {
			answers[i] = wire.Answer{Value: "cached " + key, Marked: true}
		}
	}
	return answers, nil
}

func (f *fake) told(ctx context.Context) error {
	var tell func(context.Context) error
	f.with(func() { tell = f.tell })
	if tell == nil {
		return nil
	}
	return tell(ctx)
}

func (f *fake) Remove(ctx context.Context, group, key string) error {
	return f.remove(ctx, group, []string{key}, func() error { return f.telling.remove })
}

// Offer is taken.
func (f *fake) Offer(ctx context.Context, _, _ string, _ []string) error { return f.told(ctx) }

func (f *fake) Forget(ctx context.Context) error {
	if err := f.told(ctx); err != nil {
		return err
	}
	var err error
	f.with(func() {
		if err = f.telling.forget; err == nil {
			f.forgot++
		}
	})
	return err
}

func (f *fake) Probe(context.Context) (wire.Greeting, error) {
	var probe func() (wire.Greeting, error)
	f.with(func() { probe = f.probe })
	return probe()
}

// listed is a ring on which the peers own all keys in their order.
type listed []string

func (l listed) Owners(dst []string, _ string, n int) []string {
	return append(dst, l[:min(n, len(l))]...)
}

const (
	self = "http://self"
	even = "even" // the ring's name
)

var rings = peer.Rings{ //nolint:gochecknoglobals // of all tests
	Plain: func(urls []string) peer.Ring { return listed(urls) },
	Even: func(urls []string) peer.Ring {
		backwards := slices.Clone(urls)
		slices.Reverse(backwards)
		return listed(backwards)
	},
	Name: even,
}

// rig is a pool whose peers are fakes.
type rig struct {
	pool  *peer.Pool
	fakes map[string]*fake
}

func found(context.Context, func()) (wire.Answer, error) {
	return wire.Answer{Value: "v", Marked: true}, nil
}

// hang answers when the context ends.
func hang(ctx context.Context, _ func()) (wire.Answer, error) {
	<-ctx.Done()
	return wire.Answer{}, ctx.Err()
}

// start makes a pool of peers that answer, and are marked.
func start(t *testing.T, urls ...string) *rig {
	t.Helper()
	return startBounded(t, 10, urls...)
}

// startBounded is start with a bound on requests.
func startBounded(t *testing.T, inFlight int, urls ...string) *rig {
	t.Helper()
	return startWith(t, inFlight, 0, urls...)
}

func startWith(t *testing.T, inFlight int, handover time.Duration, urls ...string) *rig {
	t.Helper()
	r := &rig{fakes: make(map[string]*fake)}
	for _, url := range urls {
		r.fakes[url] = &fake{get: found, probe: ours}
	}
	pool := peer.NewPool(self, rings, peer.Options{
		Name: "test", Dial: func(url string) wire.Transport { return r.fakes[url] },
		Timeout: time.Second, Silence: 30 * time.Millisecond, MaxInFlight: inFlight, ProbeTimeout: time.Second, Handover: handover,
		Backoff: func(error, int) time.Duration { return 50 * time.Millisecond },
	})
	r.pool = pool
	if err := pool.Set(urls); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(pool.Close(), pool.Close()); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait() // for the greetings
	return r
}

func inBubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

func TestAHungPeerIsLeftForItsSilence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		for range 64 { // it gets known
			if _, err := p.Get(t.Context(), "g", "k"); err != nil {
				t.Fatal(err)
			}
		}
		r.fakes["a"].with(func() { r.fakes["a"].get = hang })
		for range 3 {
			began := time.Now()
			_, err := p.Get(t.Context(), "g", "k")
			if took := time.Since(began); !errors.Is(err, wire.ErrUnavailable) || took != 30*time.Millisecond {
				t.Errorf("%v after %v", err, took)
			}
		}
		if p.Up() {
			t.Error("up after three silences")
		}
		began := time.Now()
		if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		r.fakes["a"].with(func() { r.fakes["a"].get = found })
		time.Sleep(time.Second)
		if _, err := p.Get(t.Context(), "g", "k"); err != nil {
			t.Errorf("healed: %v", err)
		}
	})
}

func TestAPeerThatIsNotKnownMayTakeLongerToConnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		r.fakes["a"].with(func() { r.fakes["a"].get = hang })
		began := time.Now()
		_, err := r.pool.Peers()[0].Get(t.Context(), "g", "k")
		if took := time.Since(began); !errors.Is(err, wire.ErrUnavailable) || took != 250*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestAPeerThatIsLoadingIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		r.fakes["a"].with(func() {
			r.fakes["a"].get = func(ctx context.Context, alive func()) (wire.Answer, error) {
				time.Sleep(wire.FirstSign)
				for range 50 {
					alive()
					time.Sleep(wire.NextSign)
				}
				return wire.Answer{Value: "late", Marked: true}, ctx.Err()
			}
		})
		for range 5 {
			a, err := r.pool.Peers()[0].Get(t.Context(), "g", "k")
			if a.Value != "late" || err != nil {
				t.Fatalf("%q, %v", a.Value, err)
			}
		}
	})
}

func TestASlowlyGrowingLatencyRaisesTheLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		delay := 20 * time.Millisecond
		r.fakes["a"].with(func() {
			r.fakes["a"].get = func(ctx context.Context, _ func()) (wire.Answer, error) {
				select {
				case <-time.After(delay):
					return wire.Answer{Marked: true}, nil
				case <-ctx.Done():
					return wire.Answer{}, ctx.Err()
				}
			}
		})
		for delay < 200*time.Millisecond {
			for range 1000 {
				if _, err := p.Get(t.Context(), "g", "k"); err != nil {
					t.Fatalf("at %v: %v", delay, err)
				}
			}
			delay += 20 * time.Millisecond
		}
	})
}

func TestAPeerWithoutOurMarkHasItsTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t)
		r.fakes["old"] = &fake{get: hang, probe: func() (wire.Greeting, error) { return wire.Greeting{}, nil }}
		if err := r.pool.Set([]string{"old"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		_, err := r.pool.Peers()[0].Get(t.Context(), "g", "k")
		if took := time.Since(began); !errors.Is(err, wire.ErrUnavailable) || took != time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A proxy or a sidecar answers 404 or 503 for a peer that is gone.
func TestOnlyAMarkedAnswerOfAMarkedPeerIsBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		answer := func(a wire.Answer) {
			r.fakes["a"].with(func() {
				r.fakes["a"].get = func(context.Context, func()) (wire.Answer, error) { return a, nil }
			})
		}
		answer(wire.Answer{Outcome: wire.NotFound})
		if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrForeign) || !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("an unmarked 404: %v", err)
		}
		answer(wire.Answer{Outcome: wire.NotFound, Marked: true})
		if a, err := p.Get(t.Context(), "g", "k"); a.Outcome != wire.NotFound || err != nil {
			t.Errorf("a marked 404: %v, %v", a, err)
		}
		answer(wire.Answer{Value: "v"}) // an older version has taken its place
		if a, err := p.Get(t.Context(), "g", "k"); a.Value != "v" || err != nil {
			t.Errorf("an unmarked value: %v, %v", a, err)
		}
		answer(wire.Answer{Outcome: wire.LoadFailed})
		if a, err := p.Get(t.Context(), "g", "k"); a.Outcome != wire.LoadFailed || err != nil {
			t.Errorf("an unmarked 503 of an older version: %v, %v", a, err)
		}
	})
}

func TestCallersWhoLeaveDoNotCount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		r.fakes["a"].with(func() { r.fakes["a"].get = hang })
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, err := p.Get(ctx, "g", "k"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, wire.ErrUnavailable) {
				t.Error(err)
			}
			cancel()
		}
		if !p.Up() {
			t.Error("down for the impatience of callers")
		}
	})
}

func TestARefusedConnectionTripsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		r.fakes["a"].with(func() {
			r.fakes["a"].get = func(context.Context, func()) (wire.Answer, error) {
				return wire.Answer{}, fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
			}
		})
		_, err := p.Get(t.Context(), "g", "k")
		if !errors.Is(err, wire.ErrUnavailable) || p.Up() {
			t.Errorf("%v, up %v", err, p.Up())
		}
	})
}

func TestRefusalsAreNotThePeersFault(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		for _, cause := range []error{wire.ErrTooLarge, wire.ErrRefused, wire.ErrNoGroup} {
			r.fakes["a"].with(func() {
				r.fakes["a"].get = func(context.Context, func()) (wire.Answer, error) { return wire.Answer{}, cause }
			})
			for range 10 {
				if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, cause) {
					t.Error(err)
				}
			}
		}
		if !p.Up() {
			t.Error("down")
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		release := make(chan struct{})
		r.fakes["a"].with(func() {
			r.fakes["a"].get = func(context.Context, func()) (wire.Answer, error) {
				<-release
				return wire.Answer{Marked: true}, nil
			}
		})
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() {
				if _, err := p.Get(context.WithoutCancel(t.Context()), "g", "k"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("the eleventh: %v", err)
		}
		close(release)
		callers.Wait()
		if _, err := p.Get(t.Context(), "g", "k"); err != nil || p.Stats().InFlight != 0 || p.Stats().Refused != 1 {
			t.Errorf("%v, %+v", err, p.Stats())
		}
	})
}

// A peer that could not be told of a removal must not be asked before it has been.
func TestMissedRemovalsComeFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p, f := r.pool.Peers()[0], r.fakes["a"]
		f.with(func() { f.tell = func(context.Context) error { return syscall.ECONNREFUSED } })
		if err := p.Remove(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) {
			t.Fatal(err)
		}
		p.Miss(writes.Removal{Group: "g", Key: "k"}, syscall.ECONNREFUSED)
		p.Miss(writes.Removal{Group: "g", Key: "l"}, syscall.ECONNREFUSED)
		time.Sleep(2 * time.Second) // it can be probed, and still not be told
		if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) {
			t.Fatalf("asked before it was told: %v", err)
		}
		if got := p.Stats().MissedRemoves; got != 2 {
			t.Errorf("%d removals are kept", got)
		}
		f.with(func() { f.tell = nil })
		time.Sleep(2 * time.Second)
		if a, err := p.Get(t.Context(), "g", "k"); a.Value != "v" || err != nil {
			t.Errorf("%q, %v", a.Value, err)
		}
		f.with(func() {
			slices.Sort(f.removed)
			if !slices.Equal(f.removed, []string{"g/k", "g/l"}) {
				t.Errorf("it was told %q", f.removed)
			}
		})
	})
}
