package autorefresh_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// nosy is a key whose text is that of the cache's state.
type nosy struct {
	cache *atomic.Pointer[autorefresh.Cache[nosy, int]]
}

func (n nosy) String() string {
	v, _ := n.cache.Load().Lookup(n)
	return v.LoadedAt.String()
}

// The key of a call that has overrun was written down for the log under the cache's lock: a String
// method that waited for the lock, or for a caller that did, hung the cache.
func TestStringMethodsOfKeysMayCallTheCache(t *testing.T) {
	release := make(chan struct{})
	c, err := autorefresh.New(func(context.Context, nosy, int) (int, error) {
		<-release
		return 7, nil
	}, autorefresh.Options[nosy, int]{Period: time.Minute, Timeout: 10 * time.Millisecond, MaxItems: 10, First: autorefresh.FirstImmediate})
	if err != nil {
		t.Fatal(err)
	}
	key := nosy{new(atomic.Pointer[autorefresh.Cache[nosy, int]])}
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
