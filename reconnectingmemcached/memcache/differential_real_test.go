package memcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// plainClient is what gomemcache's client and ours have in common.
type plainClient interface {
	Get(key string) (*memcache.Item, error)
	GetMulti(keys []string) (map[string]*memcache.Item, error)
	GetAndTouch(key string, expiration int32) (*memcache.Item, error)
	Touch(key string, seconds int32) error
	Set(item *memcache.Item) error
	Add(item *memcache.Item) error
	Replace(item *memcache.Item) error
	Append(item *memcache.Item) error
	Prepend(item *memcache.Item) error
	CompareAndSwap(item *memcache.Item) error
	Delete(key string) error
	Increment(key string, delta uint64) (uint64, error)
	Decrement(key string, delta uint64) (uint64, error)
	Ping() error
	FlushAll() error
	DeleteAll() error
	Close() error
}

// step does one command and renders its outcome.
type step func(c plainClient) string

// TestDifferential runs the same random commands through gomemcache and through this package, each
// against a real memcached of its own, and wants the same outcome of each.
func TestDifferential(t *testing.T) {
	for _, unix := range []bool{false, true} {
		t.Run(fmt.Sprintf("unix=%v", unix), func(t *testing.T) {
			t.Parallel() // the two have servers of their own
			theirs := testutil.StartMemcached(t, testutil.ProcessOptions{Unix: unix})
			ours := testutil.StartMemcached(t, testutil.ProcessOptions{Unix: unix})
			want := gomemcache.New(theirs.Addr())
			want.Timeout = patience
			got := newClient(t, memcache.Options{Servers: []string{ours.Addr()}})
			natives := testutil.StartMemcached(t, testutil.ProcessOptions{Unix: unix})
			native := newClient(t, memcache.Options{Servers: []string{natives.Addr()}}).Native()
			defer func() { _ = want.Close(); _ = native.Close() }()
			random := rand.New(rand.NewPCG(7, 7))
			for i := range 4000 {
				do, name := randomStep(random)
				w := do(want)
				if g := do(got); g != w {
					t.Fatalf("step %d, %s: got %s, gomemcache %s", i, name, g, w)
				}
				if g := do(native); g != w {
					t.Fatalf("step %d, %s: Native got %s, gomemcache %s", i, name, g, w)
				}
			}
		})
	}
}

func randomStep(random *rand.Rand) (step, string) {
	keys := []string{"a", "b", "c", "number", "kéy", strings.Repeat("k", 250), "!~"}
	key := keys[random.IntN(len(keys))]
	if random.IntN(40) == 0 {
		key = []string{strings.Repeat("k", 251), "a b", "a\nb", "a\x7f", "tab\t"}[random.IntN(5)]
	}
	item := &memcache.Item{Key: key, Value: randomValue(random), Flags: random.Uint32()}
	item.Expiration = []int32{0, 0, 0, 100, -1}[random.IntN(5)]
	if key == "number" && random.IntN(2) == 0 {
		item.Value = fmt.Appendf(nil, "%d", random.Uint64()>>random.IntN(64))
	}
	copied := func() *memcache.Item { it := *item; return &it }
	delta := random.Uint64() >> random.IntN(64)
	seconds := []int32{0, 100, -1}[random.IntN(3)]
	multi := []string{keys[random.IntN(len(keys))], key, keys[random.IntN(len(keys))], "absent"}
	steps := []struct {
		name string
		do   step
	}{
		{"Get", func(c plainClient) string { it, err := c.Get(key); return outcome(it, err) }},
		{"GetMulti", func(c plainClient) string { return multiOutcome(c, multi) }},
		{"GetAndTouch", func(c plainClient) string { it, err := c.GetAndTouch(key, seconds); return outcome(it, err) }},
		{"Touch", func(c plainClient) string { return outcome(nil, c.Touch(key, seconds)) }},
		{"Set", func(c plainClient) string { return outcome(nil, c.Set(copied())) }},
		{"Add", func(c plainClient) string { return outcome(nil, c.Add(copied())) }},
		{"Replace", func(c plainClient) string { return outcome(nil, c.Replace(copied())) }},
		{"Append", func(c plainClient) string { return outcome(nil, c.Append(copied())) }},
		{"Prepend", func(c plainClient) string { return outcome(nil, c.Prepend(copied())) }},
		{"CompareAndSwap", func(c plainClient) string { return swap(c, copied(), delta%3) }},
		{"Delete", func(c plainClient) string { return outcome(nil, c.Delete(key)) }},
		{"Increment", func(c plainClient) string { n, err := c.Increment(key, delta); return fmt.Sprint(n, outcome(nil, err)) }},
		{"Decrement", func(c plainClient) string { n, err := c.Decrement(key, delta); return fmt.Sprint(n, outcome(nil, err)) }},
		{"Ping", func(c plainClient) string { return outcome(nil, c.Ping()) }},
	}
	if random.IntN(200) == 0 {
		return func(c plainClient) string { return outcome(nil, c.FlushAll()) }, "FlushAll"
	}
	s := steps[random.IntN(len(steps))]
	return s.do, fmt.Sprintf("%s(%q)", s.name, key)
}

func randomValue(random *rand.Rand) []byte {
	size := []int{0, 1, 39, 41, 200, 1000, 5000, 33 << 10, 70 << 10, 300 << 10, 2 << 20}[random.IntN(11)]
	if size > 64<<10 && random.IntN(4) != 0 {
		size = 10
	}
	value := noise()
	from := random.IntN(len(value) - size + 1)
	return value[from : from+size : from+size]
}

// noise is random bytes to cut values from, which nobody may change.
//
//nolint:gochecknoglobals // never written.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b) // cannot fail
	return b
})

// swap changes the item between Get and CompareAndSwap in one case of three, and removes it in
// another.
func swap(c plainClient, item *memcache.Item, how uint64) string {
	old, err := c.Get(item.Key)
	if err != nil {
		return "get: " + outcome(nil, err)
	}
	switch how {
	case 0:
		_ = c.Set(&memcache.Item{Key: item.Key, Value: []byte("other")})
	case 1:
		_ = c.Delete(item.Key)
	}
	item.CasID = old.CasID
	return outcome(nil, c.CompareAndSwap(item))
}

func multiOutcome(c plainClient, keys []string) string {
	items, err := c.GetMulti(keys)
	var b strings.Builder
	for _, k := range keys {
		if it := items[k]; it != nil {
			fmt.Fprintf(&b, "%s=%s ", k, outcome(it, nil))
		}
	}
	return b.String() + outcome(nil, err)
}

// outcome renders what a caller can see, except the CAS number itself.
func outcome(it *memcache.Item, err error) string {
	for _, known := range []error{
		memcache.ErrCacheMiss, memcache.ErrNotStored, memcache.ErrCASConflict, memcache.ErrMalformedKey, memcache.ErrNoServers,
	} {
		if err == known { //nolint:errorlint // callers of gomemcache compare with ==, so this is what must hold.
			return err.Error()
		}
	}
	if err != nil {
		if errors.Is(err, memcache.ErrServerDown) {
			return err.Error()
		}
		if strings.HasPrefix(err.Error(), "memcache: client error: ") {
			return err.Error()
		}
		return "an error with the server's words"
	}
	if it == nil {
		return "ok"
	}
	return fmt.Sprintf("%q %d bytes %x flags %d cas %v", it.Key, len(it.Value), bytes.Clone(it.Value[:min(len(it.Value), 32)]), it.Flags, it.CasID != 0)
}
