package memcache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/trace"
)

// Every request to a server is told to the tracer, with what became of it.
func TestTraceTellsWhatBecameOfEachRequest(t *testing.T) {
	addr := testutil.StartMemcached(t).Addr()
	var seen testutil.Recorder
	c := newClient(t, memcache.Options{Name: "users", Servers: []string{addr}, Trace: &seen})
	large := make([]byte, 64<<10)
	for _, step := range []struct {
		do     func() error
		name   string
		result string
		items  int
	}{
		{func() error { return c.Set(&memcache.Item{Key: "k", Value: []byte("v")}) }, "set", trace.OK, 0},
		{func() error { return c.Set(&memcache.Item{Key: "large", Value: large}) }, "set", trace.OK, 0},
		{func() error { _, err := c.Get("k"); return err }, "get", trace.Hit, 1},
		{func() error { _, err := c.Get("none"); return err }, "get", trace.Miss, 0},
		{func() error { return c.Add(&memcache.Item{Key: "k"}) }, "add", trace.NotStored, 0},
		{func() error { return c.CompareAndSwap(&memcache.Item{Key: "k", CasID: 1 << 40}) }, "compare_and_swap", trace.Conflict, 0},
		{func() error { _, err := c.Increment("k", 1); return err }, "increment", trace.ServerError, 0},
		{func() error { _, err := c.GetMulti([]string{"k", "none"}); return err }, "get_multi", trace.Hit, 1},
		{func() error { _, err := c.GetMulti([]string{"none", "never"}); return err }, "get_multi", trace.Miss, 0},
		{c.Ping, "ping", trace.OK, 0},
	} {
		before, began := len(seen.Spans()), time.Now()
		err := step.do()
		got := seen.Last(t, step.name)
		if n := len(seen.Spans()) - before; n != 1 {
			t.Errorf("%s: %d spans, want 1", step.name, n)
		}
		if got.System != trace.Memcached || got.Client != "users" || got.Kind != trace.Client || got.Operation.Endpoint != addr {
			t.Errorf("%s is an operation of %+v", step.name, got.Operation)
		}
		if got.Result != step.result || got.Items != step.items || got.IsError() != (got.Err != nil) {
			t.Errorf("%s ended with %+v (and %v), want %s and %d items", step.name, got.Outcome, err, step.result, step.items)
		}
		if got.Ended.Before(began) || got.Ended.After(time.Now()) {
			t.Errorf("%s ended at %v, not between %v and now", step.name, got.Ended, began)
		}
	}
	if s := seen.Last(t, "get"); s.Key != "none" || s.Keys != 1 {
		t.Errorf("the key of a get is %q of %d, want none of 1", s.Key, s.Keys)
	}
	if s := seen.Last(t, "get_multi"); s.Key != "" || s.Keys != 2 {
		t.Errorf("the key of a get_multi is %q of %d, want none of 2", s.Key, s.Keys)
	}
}

// A request that was not tried is told as well: it is what an outage looks like.
func TestTraceTellsOfRequestsThatAreRefused(t *testing.T) {
	var seen testutil.Recorder
	c := newClient(t, memcache.Options{Servers: []string{"127.0.0.1:1", "127.0.0.1:2"}, Trace: &seen})
	_, _ = c.Owner("k")
	c.ForceDown("127.0.0.1:1")
	c.ForceDown("127.0.0.1:2")
	if _, err := c.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
		t.Fatal(err)
	}
	got := seen.Last(t, "get")
	if got.Result != trace.Refused || !got.IsError() || got.Err == nil || !got.Ended.IsZero() {
		t.Errorf("a refused get ended with %+v", got.Outcome)
	}
	if err := c.Ping(); !errors.Is(err, breaker.ErrOpen) {
		t.Fatal(err)
	}
	refused := 0
	for _, s := range seen.Spans() {
		if s.Name == "ping" && s.Ends == 1 && s.Result == trace.Refused {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("a ping of two servers that are down has %d spans that were refused, want 2: %v", refused, seen.Spans())
	}
}

func TestTraceTellsOfCallersThatLeave(t *testing.T) {
	fake := testutil.StartFake(t)
	if err := fake.Hang(); err != nil {
		t.Fatal(err)
	}
	var seen testutil.Recorder
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, Trace: &seen, HangTimeout: -1, Timeout: 10 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.SetContext(ctx, &memcache.Item{Key: "k"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if got := seen.Last(t, "set"); got.Result != trace.Canceled || !errors.Is(got.Err, context.DeadlineExceeded) {
		t.Errorf("a set whose caller left ended with %+v", got.Outcome)
	}
}
