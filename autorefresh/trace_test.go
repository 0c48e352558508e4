package autorefresh_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/trace"
)

// traceSource answers keys as they say, and takes a second.
func traceSource(ctx context.Context, key, _ string) (string, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	switch key {
	case "none":
		return "", autorefresh.ErrNotFound
	case "bad":
		return "", errors.New("bad")
	case "panic":
		panic("panic")
	case "exit":
		runtime.Goexit()
	case "slow":
		<-ctx.Done()
		return "", ctx.Err()
	}
	return key, nil
}

// A Load that waits is told to the tracer, and the call of the source that it waits for is within
// it; what comes from memory is told to nobody.
func TestTraceTellsOfWaitsAndOfCallsOfTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen testutil.Recorder
		c, err := autorefresh.New(traceSource, autorefresh.Options[string, string]{
			Name: "users", Period: time.Hour, Timeout: time.Minute, NoBreaker: true, Trace: &seen,
			First: autorefresh.FirstAfterPeriod,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		for key, want := range map[string][2]string{
			"good": {trace.OK, trace.OK}, "none": {trace.Miss, trace.Miss}, "bad": {trace.Failed, trace.Failed},
			"panic": {trace.Failed, trace.Failed}, "exit": {trace.Failed, trace.Failed}, "slow": {trace.Timeout, trace.Timeout},
			"left": {trace.Canceled, trace.Canceled},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			if key == "left" {
				time.AfterFunc(time.Millisecond, cancel)
			}
			_, err := c.Load(ctx, key)
			cancel()
			synctest.Wait()
			wait, load := seen.Last(t, "wait"), seen.Last(t, "load")
			if wait.Result != want[0] || load.Result != want[1] || wait.IsError() != (wait.Err != nil) || load.IsError() != (load.Err != nil) {
				t.Errorf("Load(%q): %v: the wait ended with %+v, the call with %+v, want %v", key, err, wait.Outcome, load.Outcome, want)
			}
			if load.Parent != wait.ID || wait.Parent != 0 {
				t.Errorf("Load(%q): the call is part of %d, which is part of %d, want %d and none", key, load.Parent, wait.Parent, wait.ID)
			}
			if load.System != trace.Autorefresh || load.Client != "users" || load.Key != key || load.Keys != 1 || load.Kind != trace.Internal {
				t.Errorf("Load(%q) is an operation of %+v", key, load.Operation)
			}
		}
		before := len(seen.Spans())
		if _, err := c.Load(t.Context(), "good"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.LoadMulti(t.Context(), []string{"good"}); err != nil {
			t.Fatal(err)
		}
		c.Get("good")
		if got := seen.Spans()[before:]; len(got) > 0 {
			t.Errorf("what comes from memory has the spans %v", got)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := seen.Last(t, "refresh"); got.Result != trace.OK || got.Key != "good" || got.Parent != 0 {
			t.Errorf("a refresh is %+v", got)
		}
	})
}

// A Load that waits for the refresh of a value that has grown too old is told, too.
func TestTraceTellsOfWaitsForStaleValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen testutil.Recorder
		fails := make(chan error, 100)
		source := func(_ context.Context, key, _ string) (string, error) {
			select {
			case err := <-fails:
				return "", err
			default:
				return key, nil
			}
		}
		c, err := autorefresh.New(source, autorefresh.Options[string, string]{
			Period: time.Minute, MaxStale: time.Minute, WhenStale: autorefresh.StaleBlocks, NoBreaker: true, Trace: &seen,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Load(t.Context(), "good"); err != nil {
			t.Fatal(err)
		}
		for len(fails) < cap(fails) {
			fails <- errors.New("down")
		}
		time.Sleep(3 * time.Minute)
		for len(fails) > 0 {
			if err := <-fails; err == nil {
				t.Fatal("no error is left")
			}
		}
		before := seen.Last(t, "wait")
		if _, err := c.Load(t.Context(), "good"); err != nil {
			t.Fatal(err)
		}
		if got := seen.Last(t, "wait"); got.ID == before.ID || got.Result != trace.OK || got.Key != "good" {
			t.Errorf("the wait for a stale value is %+v", got)
		}
		if got := seen.Last(t, "refresh"); got.Result != trace.OK {
			t.Errorf("the refresh that was waited for ended with %+v", got.Outcome)
		}
	})
}

// A call that the breaker refuses is told as well.
func TestTraceTellsOfASourceThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen testutil.Recorder
		fails := false
		source := func(ctx context.Context, key, old string) (string, error) {
			if fails {
				return "", errors.New("down")
			}
			return traceSource(ctx, key, old)
		}
		c, err := autorefresh.New(source, autorefresh.Options[string, string]{
			Period: time.Minute, MaxStale: time.Minute, WhenStale: autorefresh.StaleBlocks, Trace: &seen,
			Breaker: breaker.Options{ConsecutiveFailures: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Load(t.Context(), "good"); err != nil {
			t.Fatal(err)
		}
		fails = true
		_, _ = c.Load(t.Context(), "bad")
		if _, err := c.Load(t.Context(), "worse"); !errors.Is(err, autorefresh.ErrUnavailable) {
			t.Fatalf("Load of a source that is down: %v", err)
		}
		wait, load := seen.Last(t, "wait"), seen.Last(t, "load")
		if wait.Result != trace.Refused || load.Result != trace.Refused {
			t.Errorf("a Load that is refused waited for %+v, and called for %+v", wait.Outcome, load.Outcome)
		}
	})
}
