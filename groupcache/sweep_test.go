package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// editions is a source whose values say how often all of them were changed.
type editions struct{ n atomic.Int64 }

func (e *editions) Get(_ context.Context, key string, dest groupcache.Sink) error {
	return dest.SetString(e.of(key), time.Time{})
}

func (e *editions) of(key string) string { return fmt.Sprint(key, " in edition ", e.n.Load()) }

// startEditions starts a cluster whose source are editions.
func startEditions(t *testing.T, n int, adapt func(*groupcache.Options)) (*cluster, *editions) {
	t.Helper()
	e := new(editions)
	c := new(cluster)
	for range n {
		c.nodes = append(c.nodes, startNode(t, e, adapt))
	}
	setPeers(t, c.nodes...)
	return c, e
}

// editions is startEditions whose nodes ask each other this way.
func (by way) editions(t *testing.T, n int, adapt func(*groupcache.Options)) (*cluster, *editions) {
	t.Helper()
	e := new(editions)
	c := new(cluster)
	for range n {
		c.nodes = append(c.nodes, by.node(t, e, adapt))
	}
	setPeers(t, c.nodes...)
	by.expect(t, c.nodes...)
	return c, e
}

func userKeys(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("user:%d", i), fmt.Sprintf("item:%d", i))
	}
	return keys
}

// expect gets keys at all nodes, which must be of an edition.
func (c *cluster) expect(t *testing.T, keys []string, want func(key string) string) {
	t.Helper()
	for i, n := range c.nodes {
		for _, key := range keys {
			if got, err := get(t.Context(), n.group, key); err != nil || got != want(key) {
				t.Fatalf("node %d: Get(%q) = %q, %v, want %q", i, key, got, err, want(key))
			}
		}
	}
}

func (c *cluster) othersOf(n *node) (urls []string) {
	for _, other := range c.nodes {
		if other != n {
			urls = append(urls, other.url)
		}
	}
	slices.Sort(urls)
	return urls
}

func expectRemoval(t *testing.T, got groupcache.Removal, err error, want groupcache.Removal) {
	t.Helper()
	slices.Sort(got.Done)
	if !slices.Equal(got.Done, want.Done) || !slices.Equal(got.Missed, want.Missed) || !slices.Equal(got.Unable, want.Unable) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if failed := len(want.Missed)+len(want.Unable) > 0; errors.Is(err, groupcache.ErrPeerUnavailable) != failed || !failed && err != nil {
		t.Errorf("the error is %v", err)
	}
}

func TestRemovalByPrefix(t *testing.T) {
	for what, adapt := range map[string]func(*groupcache.Options){
		"open":   nil,
		"proved": func(o *groupcache.Options) { o.Auth, o.Secret = groupcache.AuthRequire, []byte("a secret of 16 bytes") },
	} {
		t.Run(what, func(t *testing.T) {
			c, e := startEditions(t, 3, adapt)
			keys := userKeys(20)
			c.expect(t, keys, e.of)
			e.n.Add(1)
			r, err := c.nodes[1].group.RemovePrefix(t.Context(), "user:")
			expectRemoval(t, r, err, groupcache.Removal{Done: c.othersOf(c.nodes[1])})
			c.expect(t, keys, func(key string) string {
				if strings.HasPrefix(key, "user:") {
					return e.of(key)
				}
				return key + " in edition 0"
			})
			r, err = c.nodes[2].group.RemoveAll(t.Context())
			expectRemoval(t, r, err, groupcache.Removal{Done: c.othersOf(c.nodes[2])})
			c.expect(t, keys, e.of)
			c.nodes[0].group.DropHot()
			e.n.Add(1)
			c.expect(t, keys, func(key string) string { return key + " in edition 1" }) // cached again
		})
	}
}

// A value that a process has from one that was not told yet must not be kept, nor be joined by
// callers that come later.
func TestNothingOldIsKeptBetweenTheStepsOfARemoval(t *testing.T) {
	c, e := startEditions(t, 2, func(o *groupcache.Options) { o.Handover = -1 }) // with it, a fetch of what was written lately is apart anyway
	owner, asker := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	c.expect(t, []string{key}, e.of)
	old := e.of(key)
	e.n.Add(1)
	step := func(n *node, phase string) {
		if err := n.group.SweepStep(phase, "id", ""); err != nil {
			t.Fatal(err)
		}
	}
	step(asker, "begin")
	if got, err := get(t.Context(), asker.group, key); got != old || err != nil {
		t.Fatalf("%q, %v: the owner knows already: the test is no test", got, err)
	}
	step(owner, "begin")
	step(asker, "end")
	step(owner, "end")
	c.expect(t, []string{key}, e.of)
	e.n.Add(1)
	c.expect(t, []string{key}, func(key string) string { return key + " in edition 1" }) // it is kept again
}

// A load that is under way during the removal is neither kept nor joined.
func TestARemovalByPrefixFencesLoads(t *testing.T) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	var calls atomic.Int64
	n := startNode(t, groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error {
		if calls.Add(1) == 1 {
			started <- struct{}{}
			<-release
			return dest.SetString("old", time.Time{})
		}
		return dest.SetString("new", time.Time{})
	}), nil)
	var first sync.WaitGroup
	first.Go(func() { _, _ = get(t.Context(), n.group, "k") })
	<-started
	if _, err := n.group.RemoveAll(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if got, err := get(ctx, n.group, "k"); got != "new" || err != nil {
		t.Errorf("joined: %q, %v", got, err)
	}
	close(release)
	first.Wait()
	if got, err := get(t.Context(), n.group, "k"); got != "new" || err != nil {
		t.Errorf("kept: %q, %v", got, err)
	}
}

// foreignPeers is a PeerPicker with one peer, which owns nothing.
type foreignPeers struct{ groupcache.ProtoGetter }

func (foreignPeers) PickPeer(string) (groupcache.ProtoGetter, bool) { return nil, false }

func (f foreignPeers) GetAll() []groupcache.ProtoGetter { return []groupcache.ProtoGetter{f} }

func (foreignPeers) GetURL() string { return "http://elsewhere" }

func TestPeersThatCannotRemoveByPrefix(t *testing.T) {
	t.Run("an original", func(t *testing.T) {
		m := startMixed(t, 1, 2, longest)
		n := m.members[1].(current)
		r, err := n.group.RemoveAll(t.Context())
		expectRemoval(t, r, err, groupcache.Removal{Done: []string{m.members[2].address()}, Unable: []string{m.old[0].url}})
	})
	t.Run("one that is down", func(t *testing.T) {
		eachWay(t, func(t *testing.T, by way) {
			c, e := by.editions(t, 3, nil)
			c.expect(t, userKeys(5), e.of)
			away := c.nodes[2]
			away.down.Store(true)
			e.n.Add(1)
			r, err := c.nodes[0].group.RemoveAll(t.Context())
			expectRemoval(t, r, err, groupcache.Removal{Done: []string{c.nodes[1].url}, Missed: []string{away.url}})
			away.down.Store(false)
			eventually(t, "it is told", func() bool { return c.nodes[0].instance.PeersUp() == 2 })
			c.expect(t, userKeys(5), e.of)
		})
	})
	t.Run("one of an older version", func(t *testing.T) {
		c, e := startEditions(t, 2, nil)
		c.nodes[1].behind(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/g") {
					w.Header().Set("X-Holdfast-Groupcache", "refused")
					http.Error(w, "bad groupcache request: the path is not group/key", http.StatusBadRequest)
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		c.expect(t, userKeys(5), e.of)
		e.n.Add(1)
		r, err := c.nodes[0].group.RemovePrefix(t.Context(), "user:")
		expectRemoval(t, r, err, groupcache.Removal{Done: []string{c.nodes[1].url}})
		for i := range 5 {
			key := fmt.Sprintf("user:%d", i)
			if got, err := get(t.Context(), c.nodes[1].group, key); got != e.of(key) || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
	t.Run("those of a foreign picker", func(t *testing.T) {
		n := startNode(t, new(editions), nil, groupcache.WithPeerPicker(foreignPeers{}))
		r, err := n.group.RemoveAll(t.Context())
		expectRemoval(t, r, err, groupcache.Removal{Unable: []string{"http://elsewhere"}})
	})
	t.Run("strangers may not", func(t *testing.T) {
		c, e := startEditions(t, 1, func(o *groupcache.Options) { o.Auth, o.Secret = groupcache.AuthRequire, []byte("a secret of 16 bytes") })
		c.expect(t, []string{"k"}, e.of)
		body := "\n\x04once\n\x00\n\x00"
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.nodes[0].url+"/_groupcache/g", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		e.n.Add(1)
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s", response.Status)
		}
		c.expect(t, []string{"k"}, func(string) string { return "k in edition 0" })
	})
}

func TestARemovalByPrefixIsNotUnderstood(t *testing.T) {
	c, e := startEditions(t, 1, nil)
	c.expect(t, []string{"k"}, e.of)
	e.n.Add(1)
	longID := "\n\x05begin\n\x41" + strings.Repeat("i", 65) + "\n\x00"
	for _, body := range []string{"", "\n\x00", "\n\x04many\n\x00\n\x00", "\n\x04once\n\x00\n\x00\n\x00", "\xff", longID} {
		response, err := http.Post(c.nodes[0].url+"/_groupcache/g", "application/x-protobuf", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%q is answered by %s", body, response.Status)
		}
	}
	c.expect(t, []string{"k"}, func(string) string { return "k in edition 0" })
}

// A prefix is bytes, as keys are.
func TestARemovalByAnyPrefix(t *testing.T) {
	c, e := startEditions(t, 2, nil)
	for _, prefix := range []string{"\x00", "\xff\xfe", "a/b?c#d%2F", "日本", strings.Repeat("long", 1<<10)} {
		keys := []string{prefix + "1", prefix + "2", prefix}
		c.expect(t, keys, e.of)
		e.n.Add(1)
		r, err := c.nodes[0].group.RemovePrefix(t.Context(), prefix)
		expectRemoval(t, r, err, groupcache.Removal{Done: c.othersOf(c.nodes[0])})
		c.expect(t, keys, e.of)
	}
}
