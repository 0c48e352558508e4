package matrix_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// cache is one whose source says who it is.
func cache(from string, store autorefresh.Store, c *callbacks) (*autorefresh.Cache[string, string], error) {
	o := autorefresh.Options[string, string]{Name: "matrix", Period: time.Hour, Store: store}
	c.ofCache(&o)
	return autorefresh.New(func(_ context.Context, key, _ string) (string, error) {
		c.call(sources)
		return from + key, nil
	}, o)
}

// inMemory is a second level without a server.
type inMemory struct {
	mu     sync.Mutex
	values map[string][]byte // guarded by mu
}

func (m *inMemory) GetMulti(context.Context, []string) (map[string][]byte, error) { return nil, nil }

func (m *inMemory) SetMulti(_ context.Context, values map[string][]byte, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.values, values)
	return nil
}

func (m *inMemory) Delete(context.Context, ...string) error { return nil }

// levelsFile is the environment variable that tells a child process where it finds them.
const levelsFile = "HOLDFAST_MATRIX_LEVELS"

// levels has a memcached store what another process has stored in the second level. It is computed
// once, for the child processes, too.
//
//nolint:gochecknoglobals // see above.
var levels = sync.OnceValues(func() ([]byte, error) {
	if path := os.Getenv(levelsFile); path != "" {
		return os.ReadFile(path)
	}
	values, err := fromSource()
	if err != nil {
		return nil, err
	}
	return commands(values)
})

// commands are those with which a second level stores values, without their answers.
func commands(values map[string][]byte) ([]byte, error) {
	fake, err := testutil.NewFake(testutil.FakeOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = fake.Close() }()
	var mu sync.Mutex
	var sets bytes.Buffer
	fake.SetFault(func(c testutil.Command) testutil.Fault {
		if c.Verb == "set" {
			mu.Lock()
			defer mu.Unlock()
			writeSet(&sets, c.Args[0], strings.Join(c.Args[1:], " "), string(c.Data))
		}
		return testutil.Fault{}
	})
	client, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{fake.Addr()}, Timeout: slack})
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	store, err := newLevel(client)
	if err != nil {
		return nil, err
	}
	err = store.SetMulti(context.Background(), values, time.Hour)
	return sets.Bytes(), err
}

// fromSource is what a process stores in the second level.
func fromSource() (map[string][]byte, error) {
	m := &inMemory{values: make(map[string][]byte)}
	c, err := cache("level:", m, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for i := range more {
		if _, err := c.Load(context.Background(), name(i)); err != nil {
			return nil, err
		}
	}
	return m.values, nil
}

// newLevel is the second level that a client's servers are.
func newLevel(client *memcache.Client) (*memcachedstore.Store, error) {
	return memcachedstore.New(client, memcachedstore.Options{Namespace: "matrix"})
}

// level is newLevel for a test.
func level(t *testing.T, client *memcache.Client) *memcachedstore.Store {
	t.Helper()
	store, err := newLevel(client)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// fillLevel gives a memcached what another process has stored.
func fillLevel(t *testing.T, addr string) {
	t.Helper()
	sets, err := levels()
	if err != nil {
		t.Fatal(err)
	}
	carryOut(t, addr, sets)
}

// storeLevel gives a memcached values that another process has stored.
func storeLevel(t *testing.T, addr string, values map[string][]byte) {
	t.Helper()
	sets, err := commands(values)
	if err != nil {
		t.Fatal(err)
	}
	carryOut(t, addr, sets)
}

// secondLevel is a cache that finds in memcached what another process has stored.
func secondLevel(t *testing.T, in surroundings) *subject {
	t.Helper()
	server := testutil.StartMemcached(t)
	w := newWay(t, server.Addr(), in, twemproxy)
	fill := func(t *testing.T) { t.Helper(); fillLevel(t, server.Addr()) }
	fill(t)
	ways := append([]*way{w}, otherWays(t, in, fillLevel)...)
	client, change := memcacheClient(t, ways, in)
	c, err := cache("source:", level(t, client), in.callbacks)
	if err != nil {
		t.Fatal(err)
	}
	var next atomic.Int64
	return &subject{
		way: w, ways: ways, authority: in.authority, words: memcachedWords(), server: server, fill: fill, list: change,
		close: func() {
			c.Close()
			_ = client.Close()
		},
		read: func(ctx context.Context) (bool, error) {
			n := next.Add(1)
			if n >= more {
				return false, errTooMany
			}
			k := name(int(n))
			v, err := c.Load(ctx, k)
			if err != nil {
				if ctx.Err() != nil || in.callbacks.hasFailed() && failedInSource(err) {
					return false, nil
				}
				return false, err
			}
			from, got, _ := strings.Cut(v, ":")
			if got != k {
				return true, fmt.Errorf("%w: %q of %s", errWrong, v, k)
			}
			return from == "level", nil
		},
	}
}

// failedInSource reports whether an error tells of a source, or of a limiter, that has panicked.
func failedInSource(err error) bool {
	return errors.Is(err, autorefresh.ErrPanicked) || errors.Is(err, autorefresh.ErrUnavailable) ||
		strings.Contains(err.Error(), "Limiter.Wait panicked")
}
