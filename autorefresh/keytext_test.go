package autorefresh_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

// nosy is a key whose text is that of the cache's state.
type nosy struct {
	cache *atomic.Pointer[autorefresh.Cache[any, any]]
}

func (n nosy) String() string {
	v, _ := n.cache.Load().Lookup(n)
	return v.LoadedAt.String()
}

// The key of a call that has overrun was written down for the log under the cache's lock: a String
// method that waited for the lock, or for a caller that did, hung the cache.
func TestStringMethodsOfKeysMayCallTheCache(t *testing.T) {
	release := make(chan struct{})
	c, err := autorefresh.New(func(context.Context, any, any) (any, error) {
		<-release
		return 7, nil
	}, autorefresh.Options[any, any]{Period: time.Minute, Timeout: 10 * time.Millisecond, MaxItems: 10, First: autorefresh.FirstImmediate})
	if err != nil {
		t.Fatal(err)
	}
	key := nosy{new(atomic.Pointer[autorefresh.Cache[any, any]])}
	key.cache.Store(c)
	if _, _, err := c.GetOrCreate(key, 1); err != nil {
		t.Fatal(err)
	}
	mustNotHang(t, func() {
		for c.Stats().Overruns == 0 {
			time.Sleep(time.Millisecond)
		}
		close(release)
		_ = c.Close()
	})
}

// telling is an error whose text needs the cache's lock.
type telling struct {
	cache *atomic.Pointer[autorefresh.Cache[int, int]]
}

func (e telling) Error() string {
	e.cache.Load().Delete(99)
	return "no database"
}

// The error of a refusal was written under the cache's lock, with the text of the failure that it
// was for: an Error method that waited for the lock hung the cache.
func TestErrorMethodsMayCallTheCache(t *testing.T) {
	failure := telling{new(atomic.Pointer[autorefresh.Cache[int, int]])}
	c, err := autorefresh.New(func(context.Context, int, int) (int, error) {
		return 0, failure
	}, autorefresh.Options[int, int]{
		Period: time.Hour, First: autorefresh.FirstAfterPeriod,
		Breaker: breaker.Options{ConsecutiveFailures: 1, Backoff: func(error, int) time.Duration { return time.Hour }},
	})
	if err != nil {
		t.Fatal(err)
	}
	failure.cache.Store(c)
	if _, _, err := c.GetOrCreate(1, 1); err != nil {
		t.Fatal(err)
	}
	mustNotHang(t, func() {
		for c.Stats().Source != breaker.Open {
			_, _ = c.Load(t.Context(), 2)
		}
		err := c.Refresh(t.Context(), 1)
		if !errors.Is(err, autorefresh.ErrUnavailable) || !errors.Is(err, breaker.ErrOpen) || !strings.HasSuffix(err.Error(), ": no database") {
			t.Errorf("Refresh: %v", err)
		}
		_ = c.Close()
	})
}
