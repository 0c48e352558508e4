package line_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

func TestEveryRequestIsAnswered(t *testing.T) {
	answers := &local{
		find: func(key string) (string, bool) { return "value of " + key, strings.HasPrefix(key, "hit") },
		get: func(_ context.Context, key string, loading func()) (wire.Answer, error) {
			if key == "none" {
				return wire.Answer{Outcome: wire.NotFound, Message: "no such key"}, nil
			}
			loading()
			return wire.Answer{Value: "loaded " + key, Expire: 7}, nil
		},
	}
	l, _ := start(t, answers)
	ctx := t.Context()
	if v, err := ask(ctx, l, "hit 1"); err != nil || v != "value of hit 1" {
		t.Errorf("a hit: %q, %v", v, err)
	}
	if a, _, err := l.Get(ctx, wire.Question{Group: "g", Key: "k"}, nil, nil); err != nil || a.Value != "loaded k" || a.Expire != 7 || !a.Marked {
		t.Errorf("a load: %+v, %v", a, err)
	}
	a, _, err := l.Get(ctx, wire.Question{Group: "g", Key: "none"}, nil, nil)
	if err != nil || a.Outcome != wire.NotFound || a.Message != "no such key" || a.Status != "404 Not Found" {
		t.Errorf("an absent key: %+v, %v", a, err)
	}
	if _, _, err := l.Get(ctx, wire.Question{Group: "none", Key: "k"}, nil, nil); !errors.Is(err, wire.ErrNoGroup) {
		t.Errorf("an unknown group: %v", err)
	}
	for what, several := range map[string]func() ([]wire.Answer, error){
		"GetMulti":  func() ([]wire.Answer, error) { return l.GetMulti(ctx, "g", []string{"a", "b"}, nil, nil) },
		"GetCached": func() ([]wire.Answer, error) { return l.GetCached(ctx, "g", []string{"a", "b"}, nil) },
		"Written":   func() ([]wire.Answer, error) { return l.Written(ctx, "g", time.Second, []string{"a", "b"}) },
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
	if err := l.Set(ctx, "g", "k", strings.Repeat("x", maxValue+1<<20), 0, nil, nil); !errors.Is(err, wire.ErrTooLarge) {
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

// A short answer waits for a piece of each long one at most.
func TestShortAnswersPassLongOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _ = client.Close() }()
		answer(t, server, &local{find: func(key string) (string, bool) {
			if key == "short" {
				return key, true
			}
			return strings.Repeat("x", maxValue), true
		}})
		p := &peerOf{client, bufio.NewReader(client)}
		var long []byte
		for stream := range uint32(8) {
			long = append(frame.Head{Kind: frame.Get, Length: 4, Stream: stream}.Append(long), "long"...)
		}
		_, _ = p.Write(long)
		if h, _, err := p.next(); err != nil || h.Flags&frame.More == 0 {
			t.Fatalf("%+v, %v, want a piece", h, err)
		}
		go p.say(frame.Head{Kind: frame.Get, Stream: 99}, []byte("short"))
		synctest.Wait() // it is read as soon as what is being written has been
		for before := 0; ; before++ {
			h, _, err := p.next()
			if err != nil || before > 12 {
				t.Fatalf("%d pieces before the short answer, %v", before, err)
			}
			if h.Stream == 99 {
				return
			}
			synctest.Wait() // or the short one may not have been answered yet
		}
	})
}

func TestGoAwayLosesNothing(t *testing.T) {
	loading := make(chan struct{})
	release := make(chan struct{})
	l, s := start(t, &local{get: func(context.Context, string, func()) (wire.Answer, error) {
		close(loading)
		<-release
		return wire.Answer{Value: "v"}, nil
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
	if _, err := ask(t.Context(), l, "k"); !errors.Is(err, wire.ErrNotTaken) {
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
	l, s := start(t, &local{get: func(ctx context.Context, _ string, _ func()) (wire.Answer, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return wire.Answer{}, ctx.Err()
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
	first := new(wire.LostError)
	for range 8 {
		err := <-lost
		this := new(wire.LostError)
		if !errors.As(err, &this) {
			t.Fatalf("a call ended with %v", err)
		}
		if first.Cause != nil && this != first {
			t.Error("two calls ended for two reasons")
		}
		first = this
	}
	if _, err := ask(t.Context(), l, "k"); !errors.Is(err, wire.ErrNotTaken) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestASilentPeerEndsACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := piped(t, &local{get: func(_ context.Context, key string, loading func()) (wire.Answer, error) {
			if key == "says so" {
				loading()
			}
			<-release
			return wire.Answer{Value: key}, nil
		}})
		begun := time.Now()
		_, _, err := l.Get(t.Context(), wire.Question{Group: "g", Key: "k", Silence: 30 * time.Millisecond}, nil, nil)
		if took := time.Since(begun); !errors.Is(err, wire.ErrSilent) || took > 40*time.Millisecond {
			t.Errorf("a peer that says nothing: %v after %v", err, took)
		}
		time.AfterFunc(30*time.Second, func() { close(release) })
		a, first, err := l.Get(t.Context(), wire.Question{Group: "g", Key: "says so", Silence: 30 * time.Millisecond}, nil, nil)
		if err != nil || a.Value != "says so" || first != wire.FirstSign {
			t.Errorf("a peer that says that it loads: %+v after %v, %v", a, first, err)
		}
	})
}

// Callers whose time was over sooner than a peer's silence never found out that nothing came any
// more.
func TestALineOfWhichNothingComesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _ = server.Close() }()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		l := newLine(t, client)
		begun := time.Now()
		for l.Takes() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, _, _ = l.Get(ctx, wire.Question{Group: "g", Key: "k", Silence: time.Second}, nil, nil)
			cancel()
		}
		<-l.Ended()
		if took := time.Since(begun); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
}

// A line on which nothing is asked may rest, and one whose peer loads may wait.
func TestALineThatIsAliveGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, &local{get: func(_ context.Context, key string, loading func()) (wire.Answer, error) {
			loading()
			time.Sleep(time.Minute)
			return wire.Answer{Value: key}, nil
		}})
		for range 2 {
			time.Sleep(time.Hour)
			if v, err := ask(t.Context(), l, "k"); err != nil || v != "k" {
				t.Errorf("%q, %v", v, err)
			}
		}
	})
}

// piped makes a line and the session that answers it, within a bubble.
func piped(t *testing.T, answers *local) *line.Line {
	t.Helper()
	client, server := net.Pipe()
	l := newLine(t, client)
	answer(t, server, answers)
	return l
}

func TestACallerMayLeave(t *testing.T) {
	ended := make(chan struct{})
	l, _ := start(t, &local{get: func(ctx context.Context, _ string, _ func()) (wire.Answer, error) {
		<-ctx.Done()
		close(ended)
		return wire.Answer{}, ctx.Err()
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
	answers := &local{get: func(context.Context, string, func()) (wire.Answer, error) { panic("oops") }}
	l, _ := start(t, answers)
	if v, err := ask(t.Context(), l, "k"); !errors.Is(err, wire.ErrForeign) {
		t.Errorf("%q, %v", v, err)
	}
	if heard := answers.heard(); !slices.Equal(heard, []string{"panic: oops"}) {
		t.Errorf("%q", heard)
	}
	if _, err := l.Probe(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A request whose goroutine had been ended was never answered, and what it took of the session was
// never given back.
func TestARequestThatEndsItsGoroutineIsAnswered(t *testing.T) {
	l, _ := start(t, &local{get: func(context.Context, string, func()) (wire.Answer, error) {
		runtime.Goexit()
		return wire.Answer{}, nil
	}})
	if v, err := ask(t.Context(), l, "k"); !errors.Is(err, wire.ErrForeign) {
		t.Errorf("%q, %v", v, err)
	}
}

// A request that had panicked was said to be worked at for as long as the connection lived.
func TestAPanicEndsTheSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _ = client.Close() }()
		answer(t, server, &local{get: func(_ context.Context, _ string, loading func()) (wire.Answer, error) {
			loading()
			panic("oops")
		}})
		p := &peerOf{client, bufio.NewReader(client)}
		p.say(frame.Head{Kind: frame.Get, Stream: 5}, []byte("key"))
		if h, _, err := p.next(); err != nil || h.Kind != frame.Refused {
			t.Fatalf("%+v, %v", h, err)
		}
		if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if h, _, err := p.next(); err == nil {
			t.Errorf("%+v after the answer", h)
		}
	})
}

// slowlyClosed is a connection as those of TLS, which tell their peer of the end.
type slowlyClosed struct{ net.Conn }

// Close implements io.Closer.
func (c slowlyClosed) Close() error {
	time.Sleep(5 * time.Second)
	return c.Conn.Close()
}

// Callers waited until the connection was closed, whatever their contexts.
func TestALineEndsItsCallsBeforeItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _ = server.Close() }()
		l := newLine(t, slowlyClosed{client})
		time.AfterFunc(time.Second, l.Close)
		go func() { _, _ = io.Copy(io.Discard, server) }()
		begun := time.Now()
		var lost *wire.LostError
		if _, err := ask(t.Context(), l, "k"); !errors.As(err, &lost) || time.Since(begun) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		<-l.Ended()
	})
}
