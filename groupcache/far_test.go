package groupcache_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// Of thirty keys of an owner 300 ms away two were asked of it, and the others loaded by each
// process for itself.
func TestAPeerAcrossRegionsIsUsed(t *testing.T) {
	for _, rtt := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond} {
		t.Run(rtt.String(), func(t *testing.T) {
			t.Parallel()
			c := &cluster{source: newSource()}
			c.source.answer = func(context.Context, string) (string, error) {
				time.Sleep(30 * time.Millisecond) // signs of life are sent
				return "v", nil
			}
			var urls []string
			for range 2 {
				n := startNode(t, c.source, func(o *groupcache.Options) {
					proxy := testutil.StartProxy(t, strings.TrimPrefix(o.Self, "http://"))
					proxy.SetDelay(rtt)
					o.Self = "http://" + proxy.Addr()
				})
				c.nodes, urls = append(c.nodes, n), append(urls, n.url)
			}
			for _, n := range c.nodes {
				if err := n.instance.SetPeers(urls...); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range c.nodes {
				eventually(t, "the peers know each other", n.instance.Acquainted)
			}
			owner, asker := c.nodes[0], c.nodes[1]
			var keys []string
			for i := 0; len(keys) < 30; i++ {
				if key := fmt.Sprint("key ", i); owner.instance.Owns(key) {
					keys = append(keys, key)
				}
			}
			var callers sync.WaitGroup
			for _, key := range keys {
				callers.Go(func() {
					if _, err := get(t.Context(), asker.group, key); err != nil {
						t.Error(err)
					}
				})
			}
			callers.Wait()
			here, there := asker.group.Stats.LocalLoads.Get(), owner.group.Stats.LocalLoads.Get()
			if here != 0 || there != 30 {
				t.Errorf("loads: %d here, %d at the owner, want 0 and 30", here, there)
			}
			if err := asker.group.Remove(t.Context(), keys[0]); err != nil {
				t.Errorf("Remove: %v", err)
			}
		})
	}
}

// slowly is a transport that writes so many bytes a second.
func slowly(rate int) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return slowConn{c, rate}, err
	}}
}

type slowConn struct {
	net.Conn
	rate int
}

// Write implements net.Conn.
func (s slowConn) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		piece := b[n:min(n+4096, len(b))]
		time.Sleep(time.Duration(len(piece)) * time.Second / time.Duration(s.rate))
		var wrote int
		wrote, err = s.Conn.Write(piece)
		n += wrote
	}
	return n, err
}

// A value that took longer than PeerTimeout on its way was sent three times in vain, and its owner
// was taken for down, although bytes flowed.
func TestASetOverASlowLinkIsBoundedByProgress(t *testing.T) {
	c := &cluster{source: newSource()}
	transport := slowly(400 << 10)
	defer transport.CloseIdleConnections()
	var urls []string
	for range 2 {
		n := startNode(t, c.source, func(o *groupcache.Options) {
			overHTTP(o)
			o.PeerTimeout, o.Transport = 500*time.Millisecond, func(context.Context) http.RoundTripper { return transport }
		})
		c.nodes, urls = append(c.nodes, n), append(urls, n.url)
	}
	for _, n := range c.nodes {
		if err := n.instance.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		eventually(t, "the peers know each other", n.instance.Acquainted)
	}
	owner, asker := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	if err := asker.group.Set(t.Context(), key, make([]byte, 1000<<10), time.Time{}, false); err != nil {
		t.Error(err)
	}
	if n := owner.sets.Load(); n != 1 {
		t.Errorf("the owner was sent the value %d times", n)
	}
}
