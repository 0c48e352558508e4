package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
)

// member is a process of a cluster of old and new ones.
type member interface {
	address() string
	setPeers(urls ...string) error
	get(ctx context.Context, key string) (string, error)
	set(ctx context.Context, key, v string) error
	remove(ctx context.Context, key string) error
}

// current is a member of this module.
type current struct{ *node }

func (c current) address() string               { return c.url }
func (c current) setPeers(urls ...string) error { return c.instance.SetPeers(urls...) }

func (c current) get(ctx context.Context, key string) (string, error) { return get(ctx, c.group, key) }

func (c current) set(ctx context.Context, key, v string) error {
	return c.group.Set(ctx, key, []byte(v), time.Time{}, false)
}

func (c current) remove(ctx context.Context, key string) error { return c.group.Remove(ctx, key) }

// mixed is a cluster of old and new processes that load from one source.
type mixed struct {
	members []member
	old     []*original   // those of the members
	timeout time.Duration // PeerTimeout of ours

	mu     sync.Mutex
	loaded map[string][]string // by which members a key was loaded; guarded by mu
	values map[string]string   // of the source, in place of "value of …"; guarded by mu
	errs   map[string]error    // of the source; guarded by mu
}

func startMixed(t *testing.T, old, ours int, timeout time.Duration) *mixed {
	t.Helper()
	m := &mixed{timeout: timeout, loaded: map[string][]string{}, values: map[string]string{}, errs: map[string]error{}}
	for range old {
		m.add(m.startOld(t))
	}
	for range ours {
		m.add(m.startNew(t))
	}
	m.meet(t)
	return m
}

func (m *mixed) startOld(t *testing.T) *original {
	t.Helper()
	var o *original
	o = startOriginal(t, func(key string) (string, error) { return m.load(o.url, key) })
	return o
}

func (m *mixed) startNew(t *testing.T) current {
	t.Helper()
	var n *node
	getter := groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		v, err := m.load(n.url, key)
		if err != nil {
			return err
		}
		return dest.SetString(v, time.Time{})
	})
	n = startNode(t, getter, func(o *groupcache.Options) { o.PeerTimeout, o.Silence = m.timeout, m.timeout/5 })
	return current{n}
}

func (m *mixed) add(x member) {
	m.members = append(m.members, x)
	if o, ok := x.(*original); ok {
		m.old = append(m.old, o)
	}
}

// meet tells all members of all, and waits until ours recognise each other.
func (m *mixed) meet(t *testing.T) {
	t.Helper()
	urls := m.urls()
	for _, x := range m.members {
		if err := x.setPeers(urls...); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "ours know each other, and have told all what they missed", func() bool {
		for _, x := range m.members {
			c, ok := x.(current)
			if !ok {
				continue
			}
			for _, p := range c.instance.Debug().Peers {
				isOld := slices.ContainsFunc(m.old, func(o *original) bool { return o.url == p.URL })
				if !p.Self && (!isOld && !p.Ours || p.State != "closed") {
					return false
				}
			}
		}
		return true
	})
}

func (m *mixed) urls() (urls []string) {
	for _, x := range m.members {
		urls = append(urls, x.address())
	}
	return urls
}

// load is the source.
func (m *mixed) load(by, key string) (string, error) {
	m.mu.Lock()
	m.loaded[key] = append(m.loaded[key], by)
	v, ok := m.values[key]
	err := m.errs[key]
	m.mu.Unlock()
	if !ok {
		v = "value of " + key
	}
	time.Sleep(2 * time.Millisecond) // so that others join
	return v, err
}

// loadedBy is which members have loaded a key, in order.
func (m *mixed) loadedBy(key string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.loaded[key])
}

func (m *mixed) put(key, v string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key], m.errs[key] = v, err
}

// owner is the owner of a key by the original's ring.
func (m *mixed) owner(key string) string {
	ring := consistenthash.New(50, nil)
	ring.Add(m.urls()...)
	return ring.Get(key)
}

// ownedBy finds keys that a member owns.
func (m *mixed) ownedBy(x member, prefix string, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprintf("%s/%d of %s", prefix, i, x.address()); m.owner(key) == x.address() {
			keys = append(keys, key)
		}
	}
	return keys
}

// describe says of which kind a member is.
func describe(x member) string {
	if _, ok := x.(*original); ok {
		return "old " + x.address()
	}
	return "new " + x.address()
}

// mixtures runs a test in clusters of old and new peers.
func mixtures(t *testing.T, test func(t *testing.T, m *mixed)) {
	t.Helper()
	for _, c := range []struct{ old, ours int }{{2, 1}, {1, 2}} {
		t.Run(fmt.Sprintf("%d old, %d new", c.old, c.ours), func(t *testing.T) { test(t, startMixed(t, c.old, c.ours, 10*time.Second)) })
	}
}

func TestMixedEachKeyIsLoadedOnceByItsOwner(t *testing.T) {
	mixtures(t, func(t *testing.T, m *mixed) {
		var keys []string
		for _, x := range m.members {
			keys = append(keys, m.ownedBy(x, "k", 15)...)
		}
		keys = append(keys, "a b", "a+b", "a%2Fb", "a/b", "?", "#", "ü", "%")
		var callers sync.WaitGroup
		for _, x := range m.members {
			for _, key := range keys {
				for range 3 {
					callers.Go(func() {
						if v, err := x.get(t.Context(), key); v != "value of "+key || err != nil {
							t.Errorf("%s: %q: %q, %v", describe(x), key, v, err)
						}
					})
				}
			}
		}
		callers.Wait()
		for _, key := range keys {
			if by := m.loadedBy(key); len(by) != 1 || by[0] != m.owner(key) {
				t.Errorf("%q was loaded by %q, its owner is %s", key, by, m.owner(key))
			}
		}
	})
}

func TestMixedErrorsReachTheCaller(t *testing.T) {
	mixtures(t, func(t *testing.T, m *mixed) {
		for _, owner := range m.members {
			keys := m.ownedBy(owner, "error", 2)
			m.put(keys[0], "", &groupcache.ErrNotFound{Msg: "no such user"})
			m.put(keys[1], "", errors.New("no database"))
			for _, asked := range m.members {
				_, absent := asked.get(t.Context(), keys[0])
				if !errors.Is(absent, &groupcache.ErrNotFound{}) || absent.Error() != "no such user" {
					t.Errorf("%s, owner %s: %v, want not found", describe(asked), describe(owner), absent)
				}
				_, failed := asked.get(t.Context(), keys[1])
				if failed == nil || failed.Error() != "no database" || errors.Is(failed, &groupcache.ErrNotFound{}) {
					t.Errorf("%s, owner %s: %v, want the getter's error", describe(asked), describe(owner), failed)
				}
				if asked != owner && !errors.Is(failed, &groupcache.ErrRemoteCall{}) {
					t.Errorf("%s, owner %s: %v is no remote error", describe(asked), describe(owner), failed)
				}
			}
			for _, key := range keys {
				by := m.loadedBy(key)
				if len(by) != len(m.members) || slices.ContainsFunc(by, func(url string) bool { return url != owner.address() }) {
					t.Errorf("%q was loaded by %q; an error must not make others load", key, by)
				}
			}
		}
	})
}

func TestMixedWritesAreSeenByAll(t *testing.T) {
	mixtures(t, func(t *testing.T, m *mixed) {
		expect := func(after, key, want string) {
			t.Helper()
			for _, x := range m.members {
				if v, err := x.get(t.Context(), key); v != want || err != nil {
					t.Errorf("%s: %s sees %q, %v; want %q", after, describe(x), v, err, want)
				}
			}
		}
		for _, owner := range m.members {
			for i, writer := range m.members {
				key := m.ownedBy(owner, fmt.Sprint("w", i), 1)[0]
				expect("at first", key, "value of "+key)
				who := fmt.Sprintf("by %s, owner %s", describe(writer), describe(owner))
				if err := writer.set(t.Context(), key, "set"); err != nil {
					t.Errorf("Set %s: %v", who, err)
				}
				expect("Set "+who, key, "set")
				m.put(key, "changed", nil)
				if err := writer.remove(t.Context(), key); err != nil {
					t.Errorf("Remove %s: %v", who, err)
				}
				expect("Remove "+who, key, "changed")
				if by := m.loadedBy(key); len(by) != 2 || by[0] != owner.address() || by[1] != owner.address() {
					t.Errorf("%s: loaded by %q", who, by)
				}
			}
		}
	})
}

// Three old processes are replaced by new ones, one after the other, while all of them are used.
func TestRollingMigration(t *testing.T) {
	m := startMixed(t, 3, 0, 10*time.Second)
	var clients sync.WaitGroup
	var done atomic.Int64
	var over atomic.Bool
	use := func(x member) (leave func()) {
		var left atomic.Bool
		var client sync.WaitGroup
		for c := range 2 {
			client.Go(func() {
				for i := c; !left.Load() && !over.Load(); i += 2 {
					key := fmt.Sprint("user ", i%97, "/", i/500)
					if v, err := x.get(t.Context(), key); v != "value of "+key || err != nil {
						t.Errorf("%s: %q: %q, %v", describe(x), key, v, err)
					}
					done.Add(1)
					time.Sleep(100 * time.Microsecond)
				}
			})
		}
		clients.Go(client.Wait)
		return func() {
			left.Store(true)
			client.Wait()
		}
	}
	work := func() {
		enough := done.Load() + 300
		eventually(t, "some work is done", func() bool { return done.Load() > enough })
	}
	var leave []func()
	for _, x := range m.members {
		leave = append(leave, use(x))
	}
	for i := range 3 {
		retired := m.old[0]
		joined := m.startNew(t)
		m.add(joined)
		m.meet(t)
		use(joined)
		work()
		write(t, m, "joined "+fmt.Sprint(i))

		leave[i]()
		m.members, m.old = m.members[1:], m.old[1:]
		m.meet(t) // the one that goes is not told
		write(t, m, "left "+fmt.Sprint(i))
		if err := retired.server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		work()
	}
	over.Store(true)
	clients.Wait()
	for _, x := range m.members {
		c := x.(current)
		if up := c.instance.PeersUp(); up != 2 || !c.instance.Acquainted() {
			t.Errorf("%s: %d peers up, all ours %v", describe(x), up, c.instance.Acquainted())
		}
	}
}

// write sets and removes a key at each member, and expects all to see that.
func write(t *testing.T, m *mixed, prefix string) {
	t.Helper()
	for i, writer := range m.members {
		key := fmt.Sprint(prefix, " ", i)
		if err := writer.set(t.Context(), key, "set"); err != nil {
			t.Errorf("%s: Set: %v", describe(writer), err)
		}
		for _, x := range m.members {
			if v, err := x.get(t.Context(), key); v != "set" || err != nil {
				t.Errorf("%s sees %q, %v", describe(x), v, err)
			}
		}
		if err := writer.remove(t.Context(), key); err != nil {
			t.Errorf("%s: Remove: %v", describe(writer), err)
		}
		if v, err := m.members[0].get(t.Context(), key); v != "value of "+key || err != nil {
			t.Errorf("%s sees %q, %v after the removal", describe(m.members[0]), v, err)
		}
	}
}

// An old peer that is asked for a key of another one passes the request on. Ours must not ask it in
// the place of a dead or hung owner.
func TestMixedADeadOldOwnerIsReplacedByOurs(t *testing.T) {
	for what, c := range map[string]struct {
		ours       int
		misfortune func(t *testing.T, o *original)
	}{
		"dead, one new": {1, func(_ *testing.T, o *original) { _ = o.server.Close() }},
		"dead, two new": {2, func(_ *testing.T, o *original) { _ = o.server.Close() }},
		"hung, two new": {2, func(t *testing.T, o *original) { o.hang(t) }},
	} {
		t.Run(what, func(t *testing.T) {
			m := startMixed(t, 2, c.ours, 500*time.Millisecond)
			owner, other := m.old[0], m.old[1]
			keys := m.ownedBy(owner, "dead", 6)
			c.misfortune(t, owner)
			var callers sync.WaitGroup
			for _, key := range keys {
				for _, x := range m.members[2:] {
					for range 5 {
						callers.Go(func() {
							if v, err := x.get(t.Context(), key); v != "value of "+key || err != nil {
								t.Errorf("%s: %q, %v", describe(x), v, err)
							}
						})
					}
				}
			}
			callers.Wait()
			for _, path := range other.seen("GET") {
				if strings.Contains(path, "/dead/") {
					t.Errorf("the other old peer was asked for %s", path)
				}
			}
			for _, key := range keys {
				if by := m.loadedBy(key); len(by) == 0 || len(by) > c.ours || slices.Contains(by, other.url) {
					t.Errorf("%q was loaded by %q", key, by)
				}
			}
		})
	}
}
