package groupcache_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// readOnly is a RoundTripper as those that count the bytes read: bodies cannot be written to.
type readOnly struct{ upgrades atomic.Int64 }

// RoundTrip implements http.RoundTripper.
func (r *readOnly) RoundTrip(q *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		r.upgrades.Add(1)
	}
	response.Body = struct{ io.ReadCloser }{response.Body}
	return response, nil
}

// What went on with frames for a Transport that hides the connection was read until its end, which
// did not come, and Close waited for that.
func TestCloseBehindATransportThatHidesTheConnection(t *testing.T) {
	way := new(readOnly)
	s := newSource()
	owner := startNode(t, s, nil)
	asker := startNode(t, s, func(o *groupcache.Options) {
		o.Transport = func(context.Context) http.RoundTripper { return way }
	})
	if err := asker.instance.SetPeers(owner.url); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the peer was to go on with frames", func() bool { return way.upgrades.Load() > 0 })
	if v, err := get(t.Context(), asker.group, "k"); err != nil || v != "value of k" {
		t.Errorf("%q, %v", v, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- asker.instance.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(longest):
		t.Fatal("Close does not return")
	}
	http.DefaultClient.CloseIdleConnections()
}
