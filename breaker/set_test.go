package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

func endpoints(s *breaker.Set) []string { return slices.Sorted(maps.Keys(s.Stats())) }

func TestSetKeepsOneBreakerPerEndpoint(t *testing.T) {
	s := newSet(t, breaker.SetOptions{})
	a := s.Get("a:1")
	if s.Get("a:1") != a || s.Get("b:1") == a {
		t.Error("Get does not tell endpoints apart")
	}
	if a.Name() != "test" || a.Endpoint() != "a:1" {
		t.Errorf("Name, Endpoint = %q, %q", a.Name(), a.Endpoint())
	}
	reportTimes(a, 5, errDown)
	wantState(t, a, breaker.Open)
	wantState(t, s.Get("b:1"), breaker.Closed)
	if got := endpoints(s); !slices.Equal(got, []string{"a:1", "b:1"}) {
		t.Errorf("Stats of %q", got)
	}
}

func TestSetProbesTheEndpointItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		probed := map[string]int{}
		s := newSet(t, breaker.SetOptions{Probe: func(_ context.Context, endpoint string) error {
			mu.Lock()
			defer mu.Unlock()
			probed[endpoint]++
			return nil
		}})
		s.Get("a:1").Trip(errDown)
		s.Get("b:1")
		time.Sleep(time.Second)
		synctest.Wait()
		if want := map[string]int{"a:1": 1}; !maps.Equal(probed, want) {
			t.Errorf("probed %v, want %v", probed, want)
		}
		wantState(t, s.Get("a:1"), breaker.Closed)
		_ = s.Close()
	})
}

func TestSetForHasTheLastWord(t *testing.T) {
	var log strings.Builder
	s := newSet(t, breaker.SetOptions{
		Options: breaker.Options{ConsecutiveFailures: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))},
		Probe:   func(context.Context, string) error { return errDown },
		For: func(endpoint string, o breaker.Options) breaker.Options {
			if o.Probe == nil {
				t.Error("For is not given the probe")
			}
			switch endpoint {
			case "tolerant":
				o.ConsecutiveFailures = 3
			case "wrong":
				o.Window = -1
			}
			return o
		},
	})
	for endpoint, want := range map[string]breaker.State{"tolerant": breaker.Closed, "plain": breaker.Open, "wrong": breaker.Open} {
		reportTimes(s.Get(endpoint), 2, errDown)
		if got := s.Get(endpoint).State(); got != want {
			t.Errorf("%s: State() = %v, want %v", endpoint, got, want)
		}
	}
	_ = s.Close()
	if got := log.String(); !strings.Contains(got, "Options.Window is -1ns") || !strings.Contains(got, "endpoint=wrong") {
		t.Errorf("logged %q", got)
	}
}

func TestSetIsBounded(t *testing.T) {
	s := newSet(t, breaker.SetOptions{MaxEndpoints: 2, Options: breaker.Options{Classify: classify}})
	s.Get("a")
	if s.Get("b") == s.Get("a") {
		t.Fatal("b shares the breaker of a")
	}
	rest := s.Get("c")
	for i := range 1000 {
		if s.Get(fmt.Sprint("x", i)) != rest {
			t.Fatalf("x%d has a breaker of its own", i)
		}
	}
	reportTimes(rest, 50, errRefused)
	rest.Trip(errDown)
	rest.ForceOpen()
	wantState(t, rest, breaker.Closed)
	if st := s.Stats()["_other"]; st.Failures != 50 || len(s.Stats()) != 3 {
		t.Errorf("Stats() = %+v", s.Stats())
	}
}

func TestSetDropsIdleBreakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, breaker.SetOptions{Probe: func(context.Context, string) error { return errDown }})
		idle, kept := s.Get("idle"), s.Get("kept")
		_ = report(idle, nil)
		s.Get("open").Trip(errDown)
		s.Get("forced").ForceClosed()
		inUse, _ := s.Get("in use").Allow()
		asked := s.Get("asked for")
		for range 16 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if _, ok := s.Stats()["kept"]; !ok || s.Get("asked for") != asked {
				t.Error("a breaker that is in use expired")
			}
			_ = report(kept, nil)
		}
		if got, want := endpoints(s), []string{"asked for", "forced", "in use", "kept", "open"}; !slices.Equal(got, want) {
			t.Errorf("left %q, want %q", got, want)
		}
		inUse.Done(nil)
		s.Get("open").Reset()
		s.Get("forced").Reset()
		time.Sleep(16 * time.Minute)
		if got := endpoints(s); len(got) != 0 {
			t.Errorf("left %q, want none", got)
		}
		_ = s.Close()
	})
}

func TestSetThatNeverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, breaker.SetOptions{IdleExpiry: -1})
		a := s.Get("a")
		time.Sleep(1000 * time.Hour)
		if s.Get("a") != a {
			t.Error("a expired")
		}
	})
}

func TestBreakerThatExpiredComesBack(t *testing.T) {
	expire := func(t *testing.T, o breaker.SetOptions) (*breaker.Set, *breaker.Breaker) {
		t.Helper()
		s := newSet(t, o)
		b := s.Get("a")
		_ = report(b, nil)
		time.Sleep(time.Hour)
		if n := len(s.Stats()); n != 0 {
			t.Fatalf("%d breakers left, want none", n)
		}
		wantState(t, b, breaker.Closed)
		return s, b
	}
	for name, use := range map[string]func(*breaker.Breaker){
		"Allow":     func(b *breaker.Breaker) { _ = report(b, errDown) },
		"Trip":      func(b *breaker.Breaker) { b.Trip(errDown) },
		"ForceOpen": (*breaker.Breaker).ForceOpen,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, b := expire(t, breaker.SetOptions{})
			use(b)
			if s.Get("a") != b {
				t.Errorf("%s: the breaker is not back in the set", name)
			}
			_ = s.Close()
			wantState(t, b, breaker.Open)
		})
	}
	synctest.Test(t, func(t *testing.T) { // another has taken its place
		s, b := expire(t, breaker.SetOptions{})
		successor := s.Get("a")
		reportTimes(b, 5, errDown)
		wantState(t, successor, breaker.Open)
		wantState(t, b, breaker.Open)
		b.Reset()
		wantState(t, successor, breaker.Closed)
		_ = s.Close()
	})
	synctest.Test(t, func(t *testing.T) { // others have taken all places
		s, b := expire(t, breaker.SetOptions{MaxEndpoints: 1})
		s.Get("b")
		reportTimes(b, 5, errDown)
		if n := s.Stats()["_other"].Failures; n != 5 {
			t.Errorf("_other counted %d, want 5", n)
		}
		_ = s.Close()
	})
	synctest.Test(t, func(t *testing.T) { // the set is closed
		s, b := expire(t, breaker.SetOptions{})
		_ = s.Close()
		b.Trip(errDown)
		if err := report(b, nil); !errors.Is(err, breaker.ErrClosed) {
			t.Errorf("Allow = %v, want ErrClosed", err)
		}
		wantState(t, b, breaker.Open)
	})
}

func TestSetCapsTheShareThatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, breaker.SetOptions{MaxOpenShare: 0.5, Probe: func(context.Context, string) error { return errDown }})
		names := []string{"a", "b", "c", "d"}
		for _, name := range names {
			s.Get(name)
		}
		open := func() (n int) {
			for _, name := range names {
				reportTimes(s.Get(name), 10, errDown)
				if s.Get(name).State() == breaker.Open {
					n++
				}
			}
			return n
		}
		if n := open(); n != 2 {
			t.Errorf("%d of 4 open, want 2", n)
		}
		s.Get("a").Reset()
		s.Get("b").ForceClosed() // gives its place back too
		s.Get("c").Trip(errDown)
		if got := s.Get("c").State(); got != breaker.Open {
			t.Errorf("c is %v, want open", got)
		}
		if n := open(); n != 2 {
			t.Errorf("%d of 4 open, want 2", n)
		}
		_ = s.Close()
	})
}

func TestSetAfterClose(t *testing.T) {
	s := newSet(t, breaker.SetOptions{})
	s.Get("a").Trip(errDown)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	for _, endpoint := range []string{"a", "new"} {
		if err := report(s.Get(endpoint), nil); !errors.Is(err, breaker.ErrClosed) {
			t.Errorf("Allow of %q = %v, want ErrClosed", endpoint, err)
		}
	}
}

func TestSetCloseWaitsForAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		s := newSet(t, breaker.SetOptions{Probe: func(ctx context.Context, _ string) error { return hang(over)(ctx) }})
		for i := range 100 {
			s.Get(fmt.Sprint(i)).Trip(errDown)
		}
		time.Sleep(time.Second)
		began := time.Now()
		_ = s.Close()
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		close(over)
	})
}

func TestNewSetRejectsBadOptions(t *testing.T) {
	for want, o := range map[string]breaker.SetOptions{
		"Options.Window is -1ns":                {Options: breaker.Options{Window: -1}},
		"Options.Probe is set":                  {Options: breaker.Options{Probe: func(context.Context) error { return nil }}},
		`Options.Endpoint is "a"`:               {Options: breaker.Options{Endpoint: "a"}},
		"Options.OnReady is set":                {Options: breaker.Options{OnReady: func(context.Context) error { return nil }}},
		"SetOptions.MaxEndpoints is -1":         {MaxEndpoints: -1},
		"SetOptions.MaxOpenShare is 1.5":        {MaxOpenShare: 1.5},
		"SetOptions.MaxOpenShare is -0.5: set ": {MaxOpenShare: -0.5},
	} {
		if s, err := breaker.NewSet("test", o); s != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewSet = %v, %v, want an error with %q", s, err, want)
		}
	}
	if _, err := breaker.NewSet("", breaker.SetOptions{}); err == nil {
		t.Error("NewSet without a name passed")
	}
}
