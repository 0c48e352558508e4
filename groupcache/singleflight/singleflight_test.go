package singleflight_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache/singleflight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errSource = errors.New("source is down")

// constant returns a function for Do.
func constant(value any, err error) func() (any, error) {
	return func() (any, error) { return value, err }
}

func TestResultsComeBack(t *testing.T) {
	var g singleflight.Group
	if v, err := g.Do("key", constant("value", nil)); v != "value" || err != nil {
		t.Errorf("Do = %v, %v, want value", v, err)
	}
	if v, err := g.Do("key", constant("partial", errSource)); v != "partial" || !errors.Is(err, errSource) {
		t.Errorf("Do = %v, %v, want partial, %v", v, err, errSource)
	}
}

// outcome is how one call of Do ended.
type outcome struct {
	value    any
	err      error
	returned bool
	panicked any
}

// flight starts n calls of one key with a function that ends as fn does, once all wait, and returns
// how each ended.
func flight(g *singleflight.Group, n int, fn func() (any, error)) (outcomes []outcome, calls int64) {
	var called atomic.Int64
	release := make(chan struct{})
	outcomes = make([]outcome, n)
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			defer func() { outcomes[i].panicked = recover() }()
			outcomes[i].value, outcomes[i].err = g.Do("key", func() (any, error) {
				called.Add(1)
				<-release
				return fn()
			})
			outcomes[i].returned = true
		})
	}
	synctest.Wait()
	close(release)
	callers.Wait()
	return outcomes, called.Load()
}

func TestOneCallForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g singleflight.Group
		outcomes, calls := flight(&g, 10, constant("value", errSource))
		for _, o := range outcomes {
			if o.value != "value" || !errors.Is(o.err, errSource) {
				t.Errorf("Do = %v, %v, want value, %v", o.value, o.err, errSource)
			}
		}
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
	})
}

func TestAPanicIsAnErrorForThoseWhoWait(t *testing.T) {
	for _, panicked := range []any{"went wrong", errSource, nil} {
		t.Run(fmt.Sprint(panicked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g singleflight.Group
				outcomes, calls := flight(&g, 10, func() (any, error) { panic(panicked) })
				leaders := 0
				for _, o := range outcomes {
					if o.panicked != nil {
						leaders++
						if panicked != nil && o.panicked != panicked {
							t.Errorf("the leader's panic = %v, want %v", o.panicked, panicked)
						}
						continue
					}
					if o.value != nil || !errors.Is(o.err, singleflight.ErrPanicked) || !strings.Contains(o.err.Error(), "singleflight leader panicked") {
						t.Errorf("Do = %v, %v, want ErrPanicked", o.value, o.err)
					}
					if err, ok := panicked.(error); ok && !errors.Is(o.err, err) {
						t.Errorf("Do = %v, want it to wrap %v", o.err, err)
					}
				}
				if leaders != 1 || calls != 1 {
					t.Errorf("%d panics of %d calls, want 1 of 1", leaders, calls)
				}
				if v, err := g.Do("key", constant("next", nil)); v != "next" || err != nil {
					t.Errorf("Do after the panic = %v, %v, want next", v, err)
				}
			})
		})
	}
}

func TestGoexitIsAnErrorForThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g singleflight.Group
		outcomes, _ := flight(&g, 10, func() (any, error) { runtime.Goexit(); return nil, nil })
		waited := 0
		for _, o := range outcomes {
			if o.returned {
				waited++
				if o.value != nil || !errors.Is(o.err, singleflight.ErrExited) {
					t.Errorf("Do = %v, %v, want ErrExited", o.value, o.err)
				}
			}
		}
		if waited != 9 {
			t.Errorf("%d returned, want 9", waited)
		}
		if v, err := g.Do("key", constant("next", nil)); v != "next" || err != nil {
			t.Errorf("Do after the exit = %v, %v, want next", v, err)
		}
	})
}

func TestWhoComesAfterTheEndGetsNothingOld(t *testing.T) {
	var g singleflight.Group
	var calls atomic.Int64
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			last := int64(0)
			for range 5000 {
				v, err := g.Do("key", func() (any, error) { runtime.Gosched(); return calls.Add(1), nil })
				if err != nil || v.(int64) <= last {
					t.Errorf("Do = %v, %v, want the result of a call after %d, which had ended", v, err, last)
				}
				last = v.(int64)
			}
		})
	}
	callers.Wait()
}

func TestLockKeepsCallsFromBeginningAndEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g singleflight.Group
		var began, ended atomic.Bool
		var callers sync.WaitGroup
		release := make(chan struct{})
		for range 2 { // the second waits for the first
			callers.Go(func() {
				_, _ = g.Do("under way", func() (any, error) { <-release; return nil, nil })
				ended.Store(true)
			})
		}
		synctest.Wait()
		g.Lock(func() {
			close(release)
			callers.Go(func() { _, _ = g.Do("next", func() (any, error) { began.Store(true); return nil, nil }) })
			for range 1000 { // they would have the time
				runtime.Gosched()
			}
			if began.Load() || ended.Load() {
				t.Errorf("began, ended = %v, %v during Lock, want neither", began.Load(), ended.Load())
			}
		})
		callers.Wait()
		if !began.Load() || !ended.Load() {
			t.Errorf("began, ended = %v, %v after Lock, want both", began.Load(), ended.Load())
		}
	})
}

func TestAPanicInLockUnlocks(t *testing.T) {
	var g singleflight.Group
	func() {
		defer func() { _ = recover() }()
		g.Lock(func() { panic("oops") })
	}()
	if v, err := g.Do("key", constant("value", nil)); v != "value" || err != nil {
		t.Errorf("Do = %v, %v, want value", v, err)
	}
}

func BenchmarkDo(b *testing.B) {
	var g singleflight.Group
	fn := constant("value", nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = g.Do("key", fn)
	}
}
