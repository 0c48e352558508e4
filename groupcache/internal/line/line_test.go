package line_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

func TestEveryRequestIsAnswered(t *testing.T) {
	answers := &local{
		find: func(key string) (string, bool) { return "value of " + key, strings.HasPrefix(key, "hit") },
		get: func(_ context.Context, key string, loading func()) (peer.Answer, error) {
			if key == "none" {
				return peer.Answer{Outcome: peer.NotFound, Message: "no such key"}, nil
			}
			loading()
			return peer.Answer{Value: "loaded " + key, Expire: 7}, nil
		},
	}
	l, _ := start(t, answers)
	ctx := t.Context()
	if v, err := ask(ctx, l, "hit 1"); err != nil || v != "value of hit 1" {
		t.Errorf("a hit: %q, %v", v, err)
	}
	if a, _, err := l.Get(ctx, peer.Question{Group: "g", Key: "k"}, nil, nil); err != nil || a.Value != "loaded k" || a.Expire != 7 || !a.Marked {
		t.Errorf("a load: %+v, %v", a, err)
	}
	a, _, err := l.Get(ctx, peer.Question{Group: "g", Key: "none"}, nil, nil)
	if err != nil || a.Outcome != peer.NotFound || a.Message != "no such key" || a.Status != "404 Not Found" {
		t.Errorf("an absent key: %+v, %v", a, err)
	}
	if _, _, err := l.Get(ctx, peer.Question{Group: "none", Key: "k"}, nil, nil); !errors.Is(err, peer.ErrNoGroup) {
		t.Errorf("an unknown group: %v", err)
	}
	for what, several := range map[string]func() ([]peer.Answer, error){
		"GetMulti":  func() ([]peer.Answer, error) { return l.GetMulti(ctx, "g", []string{"a", "b"}, nil, nil) },
		"GetCached": func() ([]peer.Answer, error) { return l.GetCached(ctx, "g", []string{"a", "b"}, nil) },
		"Written":   func() ([]peer.Answer, error) { return l.Written(ctx, "g", time.Second, []string{"a", "b"}) },
	} {
		if got, err := several(); err != nil || len(got) != 2 || what != "Written" && got[1].Value != "b" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	if g, err := l.Probe(ctx); err != nil || g.Ring != "even" || !g.RingInUse || !g.Marked {
		t.Errorf("Probe: %+v, %v", g, err)
	}
}

func TestWhatIsToldArrives(t *testing.T) {
	answers := &local{}
	l, _ := start(t, answers)
	ctx := t.Context()
	err := errors.Join(
		l.Set(ctx, "g", "k", "v", 0, nil, nil),
		l.Set(ctx, "g", "long", strings.Repeat("x", 1<<20), 0, nil, nil),
		l.Remove(ctx, "g", nil, "a", "b"),
		l.Sweep(ctx, "g", nil, writes.Sweep{Phase: "p", ID: "id", Prefix: "pre"}),
		l.Offer(ctx, "g", "me", []string{"a"}),
		l.Forget(ctx),
	)
	want := []string{"set g k v", "set g long xxx", "remove g a b", "sweep g p id pre", "offer g me a", "forget"}
	if got := answers.heard(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if err := l.Set(ctx, "g", "k", strings.Repeat("x", maxValue+1<<20), 0, nil, nil); !errors.Is(err, peer.ErrTooLarge) {
		t.Errorf("a value above the limit: %v", err)
	}
	if _, err := l.Probe(ctx); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLongValuesArriveWhole(t *testing.T) {
	l, _ := start(t, &local{find: func(key string) (string, bool) { return strings.Repeat(key, 1<<18), true }})
	var callers sync.WaitGroup
	for _, key := range []string{"a", "bc", "def", "ghij", "klmno", "p", "qr", "stu"} {
		callers.Go(func() {
			for range 3 {
				if v, err := ask(t.Context(), l, key); err != nil || v != strings.Repeat(key, 1<<18) {
					t.Errorf("%q: %d bytes, %v", key, len(v), err)
				}
			}
		})
	}
	callers.Wait()
}

// A short answer was to wait for all that was asked for before it.
func TestShortAnswersPassLongOnes(t *testing.T) {
	client, server := connected(t)
	gate := &gated{Conn: server, open: make(chan struct{}), passed: 1 << 20}
	l := newLine(t, client)
	answer(t, gate, &local{find: func(key string) (string, bool) {
		if key == "short" {
			return key, true
		}
		return strings.Repeat("x", maxValue), true
	}})
	var long sync.WaitGroup
	for range 3 {
		long.Go(func() {
			if v, err := ask(t.Context(), l, "long"); err != nil || len(v) != maxValue {
				t.Errorf("%d bytes, %v", len(v), err)
			}
		})
	}
	within(t, "the long ones are under way", func() bool { return gate.isShut() })
	var short sync.WaitGroup
	short.Go(func() {
		if v, err := ask(t.Context(), l, "short"); err != nil || v != "short" {
			t.Errorf("%q, %v", v, err)
		}
		if n := gate.written(); n > 8<<20 {
			t.Errorf("a short answer came after %d bytes of long ones", n)
		}
	})
	time.Sleep(10 * time.Millisecond) // the request is read meanwhile, as a rule
	close(gate.open)
	short.Wait()
	long.Wait()
}

func TestGoAwayLosesNothing(t *testing.T) {
	loading := make(chan struct{})
	release := make(chan struct{})
	l, s := start(t, &local{get: func(context.Context, string, func()) (peer.Answer, error) {
		close(loading)
		<-release
		return peer.Answer{Value: "v"}, nil
	}})
	var caller sync.WaitGroup
	caller.Go(func() {
		if v, err := ask(t.Context(), l, "k"); err != nil || v != "v" {
			t.Errorf("what was under way: %q, %v", v, err)
		}
	})
	<-loading
	s.GoAway()
	within(t, "the line takes no more", func() bool { return !l.Takes() })
	if _, err := ask(t.Context(), l, "k"); !errors.Is(err, line.ErrNotTaken) {
		t.Errorf("what came later: %v", err)
	}
	close(release)
	caller.Wait()
	select {
	case <-l.Ended():
	case <-time.After(longest):
		t.Error("the line has not ended")
	}
}

func TestAConnectionThatEndsFailsAllOnce(t *testing.T) {
	begun := make(chan struct{}, 8)
	l, s := start(t, &local{get: func(ctx context.Context, _ string, _ func()) (peer.Answer, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return peer.Answer{}, ctx.Err()
	}})
	lost := make(chan error, 8)
	for range 8 {
		go func() {
			_, err := ask(context.Background(), l, "k")
			lost <- err
		}()
	}
	for range 8 {
		<-begun
	}
	s.Close()
	first := new(peer.LostError)
	for range 8 {
		err := <-lost
		this := new(peer.LostError)
		if !errors.As(err, &this) {
			t.Fatalf("a call ended with %v", err)
		}
		if first.Cause != nil && this != first {
			t.Error("two calls ended for two reasons")
		}
		first = this
	}
	if _, err := ask(t.Context(), l, "k"); !errors.Is(err, line.ErrNotTaken) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestASilentPeerEndsACall(t *testing.T) {
	release := make(chan struct{})
	l, _ := start(t, &local{get: func(_ context.Context, key string, loading func()) (peer.Answer, error) {
		if key == "says so" {
			loading()
		}
		<-release
		return peer.Answer{Value: key}, nil
	}})
	_, _, err := l.Get(t.Context(), peer.Question{Group: "g", Key: "k", Silence: 30 * time.Millisecond}, nil, nil)
	if !errors.Is(err, peer.ErrSilent) {
		t.Errorf("a peer that says nothing: %v", err)
	}
	var caller sync.WaitGroup
	caller.Go(func() {
		a, first, err := l.Get(t.Context(), peer.Question{Group: "g", Key: "says so", Silence: 500 * time.Millisecond}, nil, nil)
		if err != nil || a.Value != "says so" || first >= time.Second {
			t.Errorf("a peer that says that it loads: %+v after %v, %v", a, first, err)
		}
	})
	time.Sleep(time.Second)
	close(release)
	caller.Wait()
}

func TestACallerMayLeave(t *testing.T) {
	ended := make(chan struct{})
	l, _ := start(t, &local{get: func(ctx context.Context, _ string, _ func()) (peer.Answer, error) {
		<-ctx.Done()
		close(ended)
		return peer.Answer{}, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := ask(ctx, l, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	select {
	case <-ended:
	case <-time.After(longest):
		t.Error("the peer goes on loading")
	}
	if _, err := l.Probe(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Code of the user that panics ends its request: net/http does the same.
func TestAPanicEndsItsRequest(t *testing.T) {
	answers := &local{get: func(context.Context, string, func()) (peer.Answer, error) { panic("oops") }}
	l, _ := start(t, answers)
	if v, err := ask(t.Context(), l, "k"); !errors.Is(err, peer.ErrForeign) {
		t.Errorf("%q, %v", v, err)
	}
	if heard := answers.heard(); !slices.Equal(heard, []string{"panic: oops"}) {
		t.Errorf("%q", heard)
	}
	if _, err := l.Probe(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
