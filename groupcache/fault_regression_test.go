package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// longest is how long something may take that must not hang.
const longest = 20 * time.Second

// Of 50 concurrent Sets the original delivered one, and none returned an error.
func TestConcurrentSetsAreAllDelivered(t *testing.T) {
	c := startCluster(t, 3, patient)
	var setters sync.WaitGroup
	for i := range 50 {
		setters.Go(func() {
			if err := c.nodes[i%3].group.Set(t.Context(), fmt.Sprint("key ", i), fmt.Append(nil, "set ", i), time.Time{}, false); err != nil {
				t.Errorf("Set %d: %v", i, err)
			}
		})
		setters.Go(func() {
			if err := c.nodes[i%3].group.Set(t.Context(), "one", fmt.Append(nil, "set ", i), time.Time{}, false); err != nil {
				t.Errorf("Set %d of one key: %v", i, err)
			}
		})
	}
	setters.Wait()
	one, err := get(t.Context(), c.nodes[0].group, "one")
	if !strings.HasPrefix(one, "set ") || err != nil {
		t.Errorf("%q, %v", one, err)
	}
	for n, node := range c.nodes {
		for i := range 50 {
			if v, err := get(t.Context(), node.group, fmt.Sprint("key ", i)); v != fmt.Sprint("set ", i) || err != nil {
				t.Errorf("node %d, key %d: %q, %v", n, i, v, err)
			}
		}
		if v, err := get(t.Context(), node.group, "one"); v != one || err != nil {
			t.Errorf("node %d: %q, %v, but node 0 has %q", n, v, err, one)
		}
	}
	if loads := c.source.loads.Load(); loads != 0 {
		t.Errorf("%d loads of what was set", loads)
	}
}

func TestConcurrentSetsNameThePeerThatMissesThem(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 3, nil)
		c.nodes[2].kill()
		key := c.ownedBy(t, c.nodes[0])
		var setters sync.WaitGroup
		for i := range 50 {
			setters.Go(func() {
				for _, key := range []string{key, fmt.Sprint(key, i)} {
					err := c.nodes[1].group.Set(t.Context(), key, []byte("set"), time.Time{}, false)
					if !errors.Is(err, groupcache.ErrPeerUnavailable) || !strings.Contains(err.Error(), c.nodes[2].url) {
						t.Errorf("Set of %q: %v", key, err)
					}
				}
			})
		}
		setters.Wait()
		for _, n := range c.nodes[:2] {
			if v, err := get(t.Context(), n.group, key); v != "set" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		}
	})
}

// One value larger than the cache emptied the original's.
func TestAValueLargerThanTheCacheDoesNotEmptyIt(t *testing.T) {
	huge := strings.Repeat("v", 2<<20)
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	for what, policy := range map[string]groupcache.Eviction{"S3-FIFO": groupcache.S3FIFO, "LRU": groupcache.LRU} {
		g, err := i.NewGroup(what, 1<<20, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
			if key == "huge" {
				return dest.SetString(huge, time.Time{})
			}
			return dest.SetString("value of "+key, time.Time{})
		}), groupcache.WithEviction(policy))
		if err != nil {
			t.Fatal(err)
		}
		for k := range 1000 {
			if _, err := get(t.Context(), g, fmt.Sprint(k)); err != nil {
				t.Fatal(err)
			}
		}
		before := g.CacheStats(groupcache.MainCache)
		for range 3 {
			if v, err := get(t.Context(), g, "huge"); len(v) != len(huge) || err != nil {
				t.Errorf("%s: %d bytes, %v", what, len(v), err)
			}
			if err := g.Set(t.Context(), "huge, too", []byte(huge), time.Time{}, false); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if after := g.CacheStats(groupcache.MainCache); before.Items != 1000 || after.Items != before.Items || after.Bytes != before.Bytes {
			t.Errorf("%s: of %d items, %d bytes are left %d, %d", what, before.Items, before.Bytes, after.Items, after.Bytes)
		}
	}
}

// The original served everybody.
func TestUnsignedRequestsDoNothing(t *testing.T) {
	s := newSource()
	n := startNode(t, s, func(o *groupcache.Options) { o.Auth, o.Secret = groupcache.AuthRequire, []byte("0123456789abcdef") })
	if err := n.group.Set(t.Context(), "a", []byte("kept"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "POST", "OPTIONS"} {
		for _, path := range []string{"g/a", "g/b", "h/a", "g/", ""} {
			a := ask(t, method, n.url+"/_groupcache/"+path, []byte("\x0a\x01g\x12\x01a\x1a\x03new"))
			if a.code != http.StatusUnauthorized || strings.Contains(a.body, "kept") || strings.Contains(a.body, "group") {
				t.Errorf("%s %q: %d %q", method, path, a.code, a.body)
			}
		}
	}
	if v, err := get(t.Context(), n.group, "a"); v != "kept" || err != nil || s.loads.Load() != 0 {
		t.Errorf("%q, %v, %d loads", v, err, s.loads.Load())
	}
}

// endless is a body without an end, which counts the bytes read of it.
type endless struct{ n atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.n.Add(int64(len(p)))
	return len(p), nil
}

// The original read whatever it was sent into memory.
func TestABodyWithoutEndIsNotReadForEver(t *testing.T) {
	n := startNode(t, newSource(), func(o *groupcache.Options) { o.MaxValueSize = 1 << 20 })
	for _, method := range []string{"PUT", "POST", "GET", "DELETE"} {
		body := &endless{}
		ctx, cancel := context.WithTimeout(t.Context(), longest)
		r, err := http.NewRequestWithContext(ctx, method, n.url+"/_groupcache/g/a", body)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode != http.StatusRequestEntityTooLarge && (method == "PUT" || method == "POST") {
				t.Errorf("%s: %s", method, response.Status)
			}
		}
		if ctx.Err() != nil || body.n.Load() > 64<<20 {
			t.Errorf("%s: %v, after %d MiB", method, ctx.Err(), body.n.Load()>>20)
		}
		cancel()
	}
}

// The original put itself onto the default mux.
func TestNobodyIsServedUnasked(t *testing.T) {
	groupcache.ResetDefault()
	saved := http.DefaultServeMux
	defer func() { http.DefaultServeMux = saved }()
	http.DefaultServeMux = http.NewServeMux()
	groupcache.NewHTTPPoolOpts("http://self", nil)
	i, err := groupcache.New(groupcache.Options{Self: "http://self"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	for _, path := range []string{"/_groupcache/g/a", "/", "/debug/vars"} {
		if _, pattern := http.DefaultServeMux.Handler(httptest.NewRequest(http.MethodGet, path, nil)); pattern != "" {
			t.Errorf("%s is served by %q", path, pattern)
		}
	}
	groupcache.ResetDefault()
}

// A getter that panicked for a peer took the process along, or the key.
func TestAPanicForAPeerIsItsError(t *testing.T) {
	c := startCluster(t, 2, nil)
	key := c.ownedBy(t, c.nodes[0])
	var calm atomic.Bool
	c.source.answer = func(context.Context, string) (string, error) {
		if !calm.Load() {
			panic("no database")
		}
		return "v", nil
	}
	for range 5 {
		_, err := get(t.Context(), c.nodes[1].group, key)
		if !errors.Is(err, &groupcache.ErrRemoteCall{}) || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("Get: %v", err)
		}
		got, err := c.nodes[1].group.GetMulti(t.Context(), []string{key})
		if len(got) != 0 || err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("GetMulti: %v, %v", got, err)
		}
	}
	if up := c.nodes[1].instance.PeersUp(); up != 1 {
		t.Error("a peer is down because its getter panicked")
	}
	calm.Store(true)
	for i, n := range c.nodes {
		if v, err := get(t.Context(), n.group, key); v != "v" || err != nil {
			t.Errorf("node %d, afterwards: %q, %v", i, v, err)
		}
	}
}

// One that left took along all who waited for the same load, at other processes as well.
func TestACallerWhoLeavesTakesNobodyAtOtherPeersAlong(t *testing.T) {
	c := startCluster(t, 3, patient)
	owner := c.nodes[0]
	key := c.ownedBy(t, owner)
	release := make(chan struct{})
	c.source.answer = func(ctx context.Context, _ string) (string, error) {
		select {
		case <-release:
			return "v", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	leader, leave := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	callers.Go(func() {
		if _, err := get(leader, c.nodes[1].group, key); !errors.Is(err, context.Canceled) {
			t.Errorf("who left: %v", err)
		}
	})
	eventually(t, "the first one waits at the owner", func() bool { return owner.group.Waiting(key) == 1 })
	for i, n := range []*node{c.nodes[2], owner} {
		callers.Go(func() {
			if v, err := get(t.Context(), n.group, key); v != "v" || err != nil {
				t.Errorf("who stayed: %q, %v", v, err)
			}
		})
		eventually(t, "the next one, too", func() bool { return owner.group.Waiting(key) == 2+i })
	}
	leave()
	eventually(t, "the owner knows that it has left", func() bool { return owner.group.Waiting(key) == 2 })
	close(release)
	callers.Wait()
	if loads := c.source.loads.Load(); loads != 1 {
		t.Errorf("%d loads", loads)
	}
}

func TestGetMultiIsNotHeldUpByAHungOwner(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		c := by.cluster(t, 3, func(o *groupcache.Options) { o.Silence = time.Second }) // the others are not hung, however busy the machine is
		c.nodes[2].hung.Store(true)
		var keys []string
		for i := range 60 {
			keys = append(keys, fmt.Sprintf("%d of %s", i, c.nodes[i%3].url))
		}
		ctx, cancel := context.WithTimeout(t.Context(), longest)
		defer cancel()
		got, err := c.nodes[0].group.GetMulti(ctx, keys)
		if len(got) != len(keys) || err != nil {
			t.Errorf("%d values, %v", len(got), err)
		}
		if twice := c.source.twice(); len(twice) > 0 {
			t.Errorf("loaded twice: %q", twice)
		}
	})
}

// Keys that the context leaves no time for are errors, cached ones are values.
func TestGetMultiEndsWithItsContext(t *testing.T) {
	c := startCluster(t, 2, patient)
	slow, quick := c.ownedBy(t, c.nodes[1]), c.ownedBy(t, c.nodes[0])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.source.answer = func(loading context.Context, key string) (string, error) {
		if key == slow {
			cancel()
			<-loading.Done()
			return "", loading.Err()
		}
		return "value of " + key, nil
	}
	if _, err := get(t.Context(), c.nodes[0].group, quick); err != nil {
		t.Fatal(err)
	}
	var got map[string]groupcache.ByteView
	var err error
	ended := make(chan struct{})
	go func() {
		got, err = c.nodes[0].group.GetMulti(ctx, []string{quick, slow})
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(longest):
		t.Fatal("GetMulti does not end with its context")
	}
	if len(got) != 1 || got[quick].String() != "value of "+quick || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", got, err)
	}
}

// An instance that is closed while peers wait for its loads costs them nothing: they load
// elsewhere.
func TestCloseWhilePeersWait(t *testing.T) {
	c := startCluster(t, 3, nil)
	owner := c.nodes[0]
	single := c.ownedBy(t, owner)
	batched := single
	for i := 0; batched == single || !owner.instance.Owns(batched); i++ {
		batched = fmt.Sprint(single, i)
	}
	var begun sync.Map // the first load of each key is the owner's
	c.source.answer = func(ctx context.Context, key string) (string, error) {
		if _, again := begun.LoadOrStore(key, true); !again {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "value of " + key, nil
	}
	var callers sync.WaitGroup
	for _, n := range c.nodes[1:] {
		callers.Go(func() {
			if v, err := get(t.Context(), n.group, single); v != "value of "+single || err != nil {
				t.Errorf("Get: %q, %v", v, err)
			}
		})
		callers.Go(func() {
			got, err := n.group.GetMulti(t.Context(), []string{batched})
			if got[batched].String() != "value of "+batched || err != nil {
				t.Errorf("GetMulti: %v, %v", got, err)
			}
		})
	}
	old := make(chan answer, 1)
	callers.Go(func() { old <- ask(t, http.MethodGet, owner.url+"/_groupcache/g/"+url.PathEscape(single), nil) })
	eventually(t, "they wait at the owner", func() bool { return owner.group.Waiting(single) == 3 && owner.group.Waiting(batched) == 2 })
	closed := make(chan error, 1)
	go func() { closed <- owner.instance.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(longest):
		t.Fatal("Close hangs")
	}
	callers.Wait()
	if a := <-old; a.code != http.StatusInternalServerError {
		t.Errorf("an old peer is answered %d %q, which it takes for the getter's", a.code, a.body)
	}
}

// SetPeers with lists that come and go, while the groups are used.
func TestSetPeersUnderLoad(t *testing.T) {
	c := startCluster(t, 3, nil)
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.url)
	}
	var over atomic.Bool
	var work sync.WaitGroup
	for i, n := range c.nodes {
		work.Go(func() {
			for !over.Load() {
				key := fmt.Sprint("key ", c.source.loads.Load()%50)
				if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
					t.Errorf("Get: %q, %v", v, err)
				}
			}
		})
		work.Go(func() {
			for k := 0; !over.Load(); k++ {
				if got, err := n.group.GetMulti(t.Context(), []string{fmt.Sprint("key ", k%50), fmt.Sprint(i, k)}); len(got) != 2 || err != nil {
					t.Errorf("GetMulti: %d values, %v", len(got), err)
				}
				if err := n.group.Remove(t.Context(), fmt.Sprint("key ", k%50)); err != nil && !errors.Is(err, groupcache.ErrPeerUnavailable) {
					t.Errorf("Remove: %v", err)
				}
			}
		})
		work.Go(func() {
			for round := range 60 {
				peers := append([]string{n.url}, urls[round%3:]...)
				if err := n.instance.SetPeers(peers...); err != nil {
					t.Errorf("SetPeers: %v", err)
				}
				time.Sleep(time.Millisecond)
			}
			over.Store(true)
		})
	}
	ended := make(chan struct{})
	go func() {
		work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(2 * longest):
		t.Fatal("something waits for ever")
	}
	for _, n := range c.nodes {
		if err := n.instance.SetPeers(urls...); err != nil {
			t.Error(err)
		}
	}
	for _, n := range c.nodes {
		eventually(t, "all are used again", func() bool { return n.instance.PeersUp() == 2 })
		if err := n.group.Remove(t.Context(), "key 1"); err != nil {
			t.Errorf("Remove, afterwards: %v", err)
		}
	}
}
