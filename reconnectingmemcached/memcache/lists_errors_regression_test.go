package memcache_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// telling is a source without a list, and its error, whose text needs the client.
type telling struct {
	client atomic.Pointer[memcache.Client]
}

func (s *telling) List(context.Context) ([]string, error) { return nil, s }

func (s *telling) Error() string {
	if c := s.client.Load(); c != nil {
		_ = c.ListStats()
	}
	return "no list"
}

// The error of a call before the first list was written under the lock of the lists, with the text
// of the source's: an Error method that asked the client hung it.
func TestErrorMethodsOfASourceMayCallTheClient(t *testing.T) {
	source := new(telling)
	c, err := memcache.NewWithOptions(nil, memcache.Options{Source: source})
	check(t, err)
	source.client.Store(c)
	done := make(chan error, 1)
	go func() {
		_, err := c.Get("k")
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, memcache.ErrNoServers) || !strings.HasSuffix(err.Error(), ": no list") {
			t.Errorf("Get: %v", err)
		}
		check(t, c.Close())
	case <-time.After(10 * time.Second):
		t.Error("the client hangs")
	}
}
