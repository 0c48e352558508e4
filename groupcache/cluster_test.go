package groupcache_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

func TestEachKeyIsLoadedOnceForAllPeers(t *testing.T) {
	c := startCluster(t, 3, patient)
	var callers sync.WaitGroup
	for _, n := range c.nodes {
		for k := range 50 {
			for range 4 {
				callers.Go(func() {
					key := fmt.Sprint(k)
					if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
						t.Errorf("%q, %v", v, err)
					}
				})
			}
		}
	}
	callers.Wait()
	if twice := c.source.twice(); c.source.loads.Load() != 50 || len(twice) > 0 {
		t.Errorf("%d loads, twice: %q", c.source.loads.Load(), twice)
	}
}

// hostile are keys that were mangled on their way to the owner by one of the originals, or could
// be.
var hostile = []string{ //nolint:gochecknoglobals // the keys of several tests
	"", " ", "a b", "a+b", "a%2Fb", "a/b", "/", "//", ".", "..", "../a", "a/../b", "?", "a?b=c", "#", "%", "%zz", "ü", "日本", "\x00", "\xff\xfe", "\n",
	"a\r\nHost: b", ":", ";", "&", "=", "\\", "\"", "'", strings.Repeat("k", 4000),
}

func TestKeysArriveByteByByte(t *testing.T) {
	c := startCluster(t, 2, patient)
	for _, group := range []string{"g", "a b/ü%"} {
		for _, n := range c.nodes {
			if group != "g" {
				var err error
				if n.group, err = n.instance.NewGroup(group, 1<<20, c.source); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, key := range hostile {
			owner := c.nodes[0]
			if !owner.instance.Owns(key) {
				owner = c.nodes[1]
			}
			other := c.nodes[0].group
			if owner == c.nodes[0] {
				other = c.nodes[1].group
			}
			if v, err := get(t.Context(), other, key); v != "value of "+key || err != nil {
				t.Errorf("%q: %.50q, %v", key, v, err)
			}
			if s := &owner.group.Stats; s.ServerRequests.Get() == 0 {
				t.Errorf("%q: the owner was not asked", key)
			}
			if err := other.Set(t.Context(), key, []byte("new"), time.Time{}, false); err != nil {
				t.Errorf("%q: Set: %v", key, err)
			}
			for _, g := range []*groupcache.Group{owner.group, other} {
				if v, err := get(t.Context(), g, key); v != "new" || err != nil {
					t.Errorf("%q after Set: %.50q, %v", key, v, err)
				}
			}
			if err := other.Remove(t.Context(), key); err != nil {
				t.Errorf("%q: Remove: %v", key, err)
			}
			if v, err := get(t.Context(), owner.group, key); v != "value of "+key || err != nil {
				t.Errorf("%q after Remove: %.50q, %v", key, v, err)
			}
		}
	}
}

func TestErrorsOfAGetterReachTheCallersOfOtherPeers(t *testing.T) {
	c := startCluster(t, 2, nil)
	key := c.ownedBy(t, c.nodes[0])
	for _, cause := range []error{&groupcache.ErrNotFound{Msg: "no such user"}, errors.New("no database\n")} {
		c.source.answer = func(context.Context, string) (string, error) { return "", cause }
		_, err := get(t.Context(), c.nodes[1].group, key)
		var remote groupcache.RemoteLoadError
		if !errors.As(err, &remote) || remote.Key != key || remote.Group != "g" || remote.StatusCode == 0 {
			t.Errorf("%#v", err)
		}
		if err == nil || strings.TrimSpace(err.Error()) != strings.TrimSpace(cause.Error()) {
			t.Errorf("%v, want %v", err, cause)
		}
		if want := errors.Is(cause, &groupcache.ErrNotFound{}); errors.Is(err, &groupcache.ErrNotFound{}) != want || errors.Is(err, &groupcache.ErrRemoteCall{}) == want {
			t.Errorf("%v is not of its kind", err)
		}
	}
	if got := c.source.loads.Load(); got != 2 {
		t.Errorf("%d loads: an error was answered by a second load", got)
	}
	for i, n := range c.nodes {
		if up := n.instance.PeersUp(); up != 1 {
			t.Errorf("node %d has %d peers up", i, up)
		}
	}
}

func TestPeerErrorHandlers(t *testing.T) {
	for what, c := range map[string]struct {
		handler groupcache.PeerErrorHandler
		loads   int64
		want    string
	}{
		"default": {groupcache.DefaultPeerErrorHandler, 2, "no database"},
		"returns": {func(_ context.Context, g *groupcache.Group, key, url string, err error) (bool, error) {
			return false, fmt.Errorf("%s %q at %s: %w", g.Name(), key, url, err)
		}, 1, "at http://127.0.0.1"},
		"says nothing": {func(context.Context, *groupcache.Group, string, string, error) (bool, error) { return false, nil }, 1, "unavailable"},
	} {
		t.Run(what, func(t *testing.T) {
			cl := startCluster(t, 2, patient, groupcache.WithPeerErrorHandler(c.handler))
			cl.source.answer = func(context.Context, string) (string, error) { return "", errors.New("no database") }
			_, err := get(t.Context(), cl.nodes[1].group, cl.ownedBy(t, cl.nodes[0]))
			if err == nil || !strings.Contains(err.Error(), c.want) || cl.source.loads.Load() != c.loads {
				t.Errorf("%v, %d loads", err, cl.source.loads.Load())
			}
		})
	}
}

// With the originals, lists of peers that differ make requests go round until their contexts end.
func TestPeersThatDisagreeDoNotWaitForEachOther(t *testing.T) {
	c := startCluster(t, 2, patient)
	a, b := c.nodes[0], c.nodes[1]
	for n, other := range map[*node]*node{a: b, b: a} { // each believes that the other owns all
		if err := n.instance.SetPeers(other.url); err != nil {
			t.Fatal(err)
		}
	}
	var callers sync.WaitGroup
	for _, n := range c.nodes {
		for range 20 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if v, err := get(ctx, n.group, "a"); v != "value of a" || err != nil {
					t.Errorf("%q, %v", v, err)
				}
			})
		}
	}
	callers.Wait()
	if loads := c.source.loads.Load(); loads > 2 {
		t.Errorf("%d loads", loads)
	}
}

func TestADeadPeerCostsNoError(t *testing.T) {
	c := startCluster(t, 3, nil)
	key := c.ownedBy(t, c.nodes[0])
	_ = c.nodes[0].server.Close()
	var callers sync.WaitGroup
	for i := range 1002 {
		callers.Go(func() {
			if v, err := get(t.Context(), c.nodes[1+i%2].group, key); v != "value of "+key || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
	callers.Wait()
	if loads := c.source.loads.Load(); loads != 1 {
		t.Errorf("%d loads", loads)
	}
}

// Owner hung, and 1 002 callers: with the original 668 errors after 10 s.
func TestAHungPeerCostsNoError(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 3, hasty)
		c.nodes[0].hung.Store(true)
		var slow atomic.Int64
		for round := range 10 {
			key := fmt.Sprint(round, c.ownedBy(t, c.nodes[0]))
			var callers sync.WaitGroup
			for i := range 100 {
				callers.Go(func() {
					began := time.Now()
					if v, err := get(t.Context(), c.nodes[1+i%2].group, key); v != "value of "+key || err != nil {
						t.Errorf("%q, %v", v, err)
					}
					if time.Since(began) > 3*time.Second { // a hang; the owner's silence is 0.25 s at first, 0.03 s later
						slow.Add(1)
					}
				})
			}
			callers.Wait()
		}
		if n := slow.Load(); n > 10 {
			t.Errorf("%d of 1000 Gets waited for the hung owner", n)
		}
	})
}

func TestGetMultiAsksEachOwnerOnce(t *testing.T) {
	c := startCluster(t, 3, func(o *groupcache.Options) { o.Handover, o.Frames = -1, groupcache.FramesOff }) // owners ask nobody
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i)})))
	}
	keys = append(keys, keys[1], "absent")
	c.source.answer = func(_ context.Context, key string) (string, error) {
		if key == "absent" {
			return "", &groupcache.ErrNotFound{Msg: "no"}
		}
		return "value of " + key, nil
	}
	got, err := c.nodes[0].group.GetMulti(t.Context(), keys)
	if err != nil || len(got) != 100 {
		t.Fatalf("%d values, %v", len(got), err)
	}
	for key, v := range got {
		if v.String() != "value of "+key {
			t.Errorf("%q: %q", key, v)
		}
	}
	for i, n := range c.nodes[1:] {
		want := int64(0)
		if slices.ContainsFunc(keys, n.instance.Owns) {
			want = 1
		}
		if got := n.posts.Load(); got != want {
			t.Errorf("node %d had %d requests, want %d", i+1, got, want)
		}
	}
	if loads := c.source.loads.Load(); loads != 101 {
		t.Errorf("%d loads", loads)
	}
	again, err := c.nodes[0].group.GetMulti(t.Context(), keys[:100])
	if err != nil || !maps.Equal(got, again) || c.source.loads.Load() != 101 {
		t.Errorf("again: %d values, %v, %d loads", len(again), err, c.source.loads.Load())
	}
}

func TestGetMultiWithADeadPeer(t *testing.T) {
	c := startCluster(t, 3, nil)
	_ = c.nodes[2].server.Close()
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprint("key ", i))
	}
	got, err := c.nodes[0].group.GetMulti(t.Context(), keys)
	if err != nil || len(got) != 100 {
		t.Errorf("%d values, %v", len(got), err)
	}
	if twice := c.source.twice(); len(twice) > 0 {
		t.Errorf("loaded twice: %q", twice)
	}
	if loads := c.nodes[0].group.Stats.Loads.Get(); loads != 100 {
		t.Errorf("100 misses are counted as %d loads", loads)
	}
}

func TestAuthentication(t *testing.T) {
	secret := []byte("0123456789abcdef")
	with := func(a groupcache.Auth, secret []byte) func(*groupcache.Options) {
		return func(o *groupcache.Options) { o.Auth, o.Secret = a, secret }
	}
	for _, c := range []struct {
		what           string
		server, client func(*groupcache.Options)
		served         bool
	}{
		{"both require", with(groupcache.AuthRequire, secret), with(groupcache.AuthRequire, secret), true},
		{"signed to one that accepts", with(groupcache.AuthAccept, secret), with(groupcache.AuthRequire, secret), true},
		{"unsigned to one that accepts", with(groupcache.AuthAccept, secret), nil, true},
		{"signed to one that does not check", nil, with(groupcache.AuthAccept, secret), true},
		{"one that proves nothing to one that requires it", nil, with(groupcache.AuthRequire, secret), false},
		{"unsigned to one that requires", with(groupcache.AuthRequire, secret), nil, false},
		{"another secret", with(groupcache.AuthAccept, secret), with(groupcache.AuthAccept, []byte("another secret 16")), false},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newSource()
			server, client := startNode(t, s, c.server), startNode(t, s, c.client)
			if err := client.instance.SetPeers(server.url); err != nil {
				t.Fatal(err)
			}
			if v, err := get(t.Context(), client.group, "a b"); v != "value of a b" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			if got := server.group.Stats.ServerRequests.Get() == 1; got != c.served {
				t.Errorf("served %v, want %v", got, c.served)
			}
			err := client.group.Set(t.Context(), "a", []byte("v"), time.Time{}, false)
			if (err == nil) != c.served {
				t.Errorf("Set: %v", err)
			}
			if err := client.group.Remove(t.Context(), "a"); (err == nil) != c.served {
				t.Errorf("Remove: %v", err)
			}
		})
	}
}

func TestLargeValues(t *testing.T) {
	c := startCluster(t, 2, func(o *groupcache.Options) { o.MaxValueSize = 1 << 20 })
	key := c.ownedBy(t, c.nodes[0])
	other := c.nodes[1].group
	for _, size := range []int{0, 1, 1000, 1 << 16, 1 << 20} {
		want := strings.Repeat("v", size)
		c.source.answer = func(context.Context, string) (string, error) { return want, nil }
		if err := other.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if v, err := get(t.Context(), other, key); v != want || err != nil {
			t.Errorf("%d bytes: got %d, %v", size, len(v), err)
		}
		if err := other.Set(t.Context(), key, []byte(want), time.Time{}, false); err != nil {
			t.Errorf("Set of %d bytes: %v", size, err)
		}
	}
	if err := other.Set(t.Context(), key, make([]byte, 1<<20+1), time.Time{}, false); !errors.Is(err, groupcache.ErrValueTooLarge) {
		t.Errorf("a value that is too large: %v", err)
	}
}

func TestTheRendezvousRing(t *testing.T) {
	c := startCluster(t, 3, func(o *groupcache.Options) { o.Ring = groupcache.Rendezvous })
	for _, n := range c.nodes {
		eventually(t, "all use it", func() bool { return n.instance.Debug().Ring == "rendezvous" })
	}
	for k := range 50 {
		for _, n := range c.nodes {
			key := fmt.Sprint(k)
			if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		}
	}
	if loads := c.source.loads.Load(); loads != 50 {
		t.Errorf("%d loads", loads)
	}
	plain := startNode(t, c.source, nil)
	urls := []string{plain.url}
	for _, n := range c.nodes {
		urls = append(urls, n.url)
	}
	for _, n := range append(c.nodes, plain) {
		if err := n.instance.SetPeers(urls...); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all leave it for one that does not know it", func() bool { return n.instance.Debug().Ring == "hash" })
	}
}

// A transport that the caller brings may serve the rest of the application, too.
func TestCloseLeavesACallersTransportAlone(t *testing.T) {
	server := startNode(t, newSource(), nil)
	var dials atomic.Int64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	defer transport.CloseIdleConnections()
	use := func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, server.url+"/_groupcache/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	i, err := groupcache.New(groupcache.Options{Transport: func(context.Context) http.RoundTripper { return transport }})
	if err != nil {
		t.Fatal(err)
	}
	use()
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	use()
	if n := dials.Load(); n != 1 {
		t.Errorf("%d dials: Close has closed the caller's idle connection", n)
	}
}

func TestSetPeersChecksURLs(t *testing.T) {
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	for _, bad := range []string{"", "a:80", "10.0.0.1", "ftp://a", "http://", "http://a:b:c", "\x00"} {
		if err := i.SetPeers("http://good", bad); err == nil || !strings.Contains(err.Error(), "peer") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if i.PeersUp() != 0 {
		t.Error("a bad list was taken in part")
	}
}
