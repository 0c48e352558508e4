package memcache_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func TestDeedsOfWrites(t *testing.T) {
	for _, tt := range []struct {
		op, phase string
		up        [2]bool
		want      string
	}{
		{"set", "up", [2]bool{true, true}, "- -"},
		{"set", "window", [2]bool{true, true}, "delete delete"},
		{"set", "linger", [2]bool{true, true}, "store delete"},
		{"set", "down", [2]bool{true, true}, "store delete"},
		{"set", "down", [2]bool{false, true}, "log store"},
		{"set", "down", [2]bool{true, false}, "store log"},
		{"set", "down", [2]bool{false, false}, "log log"},
		{"delete", "up", [2]bool{true, true}, "- -"},
		{"delete", "window", [2]bool{true, false}, "delete log"},
		{"delete", "linger", [2]bool{true, true}, "delete delete"},
		{"delete", "down", [2]bool{false, true}, "log delete"},
		{"append", "down", [2]bool{true, true}, "delete delete"},
		{"compare_and_swap", "window", [2]bool{true, true}, "delete delete"},
		{"add", "down", [2]bool{true, true}, "- -"},
		{"increment", "down", [2]bool{true, true}, "- -"},
		{"decrement", "down", [2]bool{true, true}, "- -"},
		{"add", "linger", [2]bool{true, true}, "delete delete"},
		{"increment", "window", [2]bool{true, true}, "delete delete"},
		{"touch", "down", [2]bool{true, true}, "- -"},
		{"touch", "window", [2]bool{true, true}, "- -"},
		{"get", "down", [2]bool{true, true}, "- -"},
	} {
		if got := memcache.Deeds(tt.op, tt.phase, tt.up[0], tt.up[1]); got != tt.want {
			t.Errorf("%s while %s, holders up %v: %q, want %q", tt.op, tt.phase, tt.up, got, tt.want)
		}
	}
}

func TestWindowOfAServer(t *testing.T) {
	const linger, care = 2 * time.Second, 12 * time.Second
	var w memcache.Window
	for _, step := range []struct {
		at   time.Duration
		do   func(now time.Duration)
		down bool
		want string
	}{
		{1, nil, false, "up"},
		{2, nil, true, "down"}, // the breaker knows first
		{3, w.Fall, true, "down"},
		{time.Hour, w.Fall, false, "linger"}, // it has just closed
		{time.Hour + 1, func(now time.Duration) { w.Rise(now, linger, care) }, false, "linger"},
		{time.Hour + linger, nil, false, "linger"},
		{time.Hour + linger + 1, nil, false, "window"},
		{time.Hour + care, nil, false, "window"},
		{time.Hour + care + 1, nil, false, "up"},
		{2 * time.Hour, func(now time.Duration) { w.Hear(now, care) }, false, "window"},
		{2*time.Hour + care - 1, nil, false, "window"},
		{2*time.Hour + care, nil, false, "up"},
	} {
		if step.do != nil {
			step.do(step.at)
		}
		if got := w.Phase(step.at, step.down); got != step.want {
			t.Errorf("after %v: %s, want %s", step.at, got, step.want)
		}
	}
	if !w.Shut() {
		t.Error("the window is not shut after its time: healthy calls take the long way")
	}
	w.Fall(3 * time.Hour)
	if w.Known() {
		t.Error("an outage long after the last one is known to the others")
	}
	w.Rise(4*time.Hour, linger, care)
	w.Fall(4*time.Hour + 5*time.Second)
	if !w.Known() {
		t.Error("an outage shortly after the last one is not known to the others")
	}
}

func TestCopyExpiration(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		expiration int32
		want       int32
	}{
		{0, 300},
		{10, 10},
		{300, 300},
		{301, 300},
		{30 * 24 * 60 * 60, 300},
		{-1, -1},
		{1_800_000_010, 10},
		{1_800_001_000, 300},
		{1_800_000_000, -1},
		{1_700_000_000, -1},
	} {
		if got := memcache.CopyExpiration(tt.expiration, 5*time.Minute, now); got != tt.want {
			t.Errorf("of an item that expires %d: %d, want %d", tt.expiration, got, tt.want)
		}
	}
}

// TestHoldersAreTheSameEverywhere: whatever the order of the servers; each gets its share, and one
// that leaves changes its own only.
func TestHoldersAreTheSameEverywhere(t *testing.T) {
	servers := []string{"a:1", "b:1", "c:1", "d:1", "e:1"}
	reversed := slices.Clone(servers)
	slices.Reverse(reversed)
	shares := make(map[string]int)
	const keys = 4000
	for i := range keys {
		key := fmt.Sprint("key", i)
		got := memcache.Holders(key, "a:1", servers...)
		if want := memcache.Holders(key, "a:1", reversed...); !slices.Equal(got, want) || len(got) != 2 || slices.Contains(got, "a:1") || got[0] == got[1] {
			t.Fatalf("holders of %q: %v and, of the servers in another order, %v", key, got, want)
		}
		shares[got[0]]++
		if left := memcache.Holders(key, "a:1", "a:1", "b:1", "c:1", "d:1"); !slices.Contains(got, "e:1") && !slices.Equal(left, got) {
			t.Fatalf("holders of %q: %v, after another server has left: %v", key, got, left)
		}
	}
	for s, n := range shares {
		if n < keys/5 || n > keys*3/10 {
			t.Errorf("server %s is the first holder of %d keys of %d, want about a quarter", s, n, keys)
		}
	}
	if got := memcache.Holders("k", "a:1", "a:1"); len(got) != 0 {
		t.Errorf("holders among the owner alone: %v", got)
	}
}

// recorder keeps the commands that a server gets.
type recorder struct {
	mu       sync.Mutex
	commands []string // verb and keys; guarded by mu
}

func (r *recorder) note(cmd testutil.Command) testutil.Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = append(r.commands, cmd.Verb+" "+strings.Join(cmd.Keys, " "))
	return testutil.Fault{}
}

func (r *recorder) about(key string) (commands []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.commands {
		if strings.HasSuffix(c, key) {
			commands = append(commands, c)
		}
	}
	return commands
}

// TestCallsWhileDownWithAGutter is the table of what each call does.
func TestCallsWhileDownWithAGutter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		o := withGutter()
		o.NoReplay = func(key string) bool { return strings.HasPrefix(key, "lock") }
		p := f.newProcess(0, o)
		defer func() { check(t, p.client.Close()) }()
		c := p.client
		var wire recorder
		for _, fake := range f.fakes {
			fake.SetFault(wire.note)
		}
		key, other := keyAt(t, c, f.fakes[0].Addr(), "k"), keyAt(t, c, f.fakes[1].Addr(), "o")
		lock, long := keyAt(t, c, f.fakes[0].Addr(), "lock"), keyAt(t, c, f.fakes[0].Addr(), strings.Repeat("l", 240))
		check(t, c.Set(&memcache.Item{Key: other, Value: []byte("o")}))
		check(t, f.fakes[0].Kill())
		time.Sleep(time.Second)

		check(t, c.Set(&memcache.Item{Key: key, Value: []byte("v"), Flags: 7}))
		for what, get := range map[string]func() (*memcache.Item, error){
			"Get":         func() (*memcache.Item, error) { return c.Get(key) },
			"GetAndTouch": func() (*memcache.Item, error) { return c.GetAndTouch(key, 10_000) },
			"GetMulti": func() (*memcache.Item, error) {
				items, err := c.GetMulti([]string{other, key, lock})
				return items[key], err
			},
			"Reporting": func() (*memcache.Item, error) { return c.Reporting().Get(key) },
		} {
			if it, err := get(); err != nil || it == nil || it.Key != key || string(it.Value) != "v" || it.Flags != 7 || it.CasID != 0 {
				t.Errorf("%s while down = %+v, %v, want the copy under its own name", what, it, err)
			}
		}
		if items, err := c.GetMulti([]string{other, key}); err != nil || len(items) != 2 {
			t.Errorf("GetMulti while down = %v, %v, want both keys", items, err)
		}
		if items, err := c.Reporting().GetMulti([]string{key}); err != nil || len(items) != 1 {
			t.Errorf("GetMulti, reporting = %v, %v, want the copy and no error", items, err)
		}
		if _, err := c.Reporting().GetMulti([]string{key, lock}); !errors.Is(err, memcache.ErrServerDown) {
			t.Errorf("GetMulti, reporting, of a key without a copy = %v, want ErrServerDown", err)
		}
		var down *memcache.ServerDownError
		if err := c.Reporting().Set(&memcache.Item{Key: key, Value: []byte("w")}); !errors.As(err, &down) || !down.Guttered {
			t.Errorf("Set, reporting = %v, want a *ServerDownError that is Guttered", err)
		}
		item := &memcache.Item{Key: lock, Value: []byte("1")}
		_, increment := c.Increment(lock, 1)
		another := keyAt(t, c, f.fakes[0].Addr(), "another")
		_, decrement := c.Decrement(another, 1)
		for what, err := range map[string]error{
			"Add": c.Add(item), "Set": c.Set(item), "Touch": c.Touch(lock, 1), "Increment": increment, "Delete": c.Delete(lock),
			"Add of another": c.Add(&memcache.Item{Key: another, Value: []byte("1")}), "Decrement": decrement, "Touch of another": c.Touch(another, 1),
			"Set of a long": c.Set(&memcache.Item{Key: long, Value: []byte("1")}),
		} {
			if !errors.As(err, &down) || down.Guttered {
				t.Errorf("%s while down = %v, want a *ServerDownError that is not Guttered", what, err)
			}
		}
		if sent := slices.Concat(wire.about(lock), wire.about(long), wire.about(another)); len(sent) > 0 {
			t.Errorf("of locks and of a long key was sent: %q", sent)
		}
		if err := c.Delete(key); !errors.As(err, &down) {
			t.Errorf("Delete while down = %v, want a *ServerDownError", err)
		}
		if it, err := c.Get(key); err != memcache.ErrCacheMiss { //nolint:errorlint // the very value.
			t.Errorf("Get of a deleted key while down = %v, %v, want ErrCacheMiss", it, err)
		}
		if _, err := c.Reporting().Get(key); !errors.Is(err, memcache.ErrServerDown) {
			t.Errorf("Get, reporting, of a key without a copy = %v, want ErrServerDown", err)
		}
	})
}

// keyAt is a key that begins with prefix and belongs to a server.
func keyAt(t *testing.T, c *memcache.Client, addr, prefix string) string {
	t.Helper()
	for i := range 1000 {
		key := fmt.Sprint(prefix, ".", i)
		if owner, err := c.Owner(key); err == nil && owner == addr {
			return key
		}
	}
	t.Fatalf("no key of server %s", addr)
	return ""
}

// TestReturnWithAGutter: copies are read for a while after the return, later on a miss; a later
// write is not hidden by one.
func TestReturnWithAGutter(t *testing.T) {
	t.Parallel()
	silent := withGutter()
	silent.Gutter.Beacon = -1
	for name, o := range map[string]memcache.Options{"beacon": withGutter(), "no beacon": silent} {
		t.Run(name, func(t *testing.T) { returnWithAGutter(t, o) })
	}
}

func returnWithAGutter(t *testing.T, o memcache.Options) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		p := f.newProcess(0, o)
		defer func() { check(t, p.client.Close()) }()
		c := p.client
		addr := f.fakes[0].Addr()
		kept, written, counter := keyAt(t, c, addr, "kept"), keyAt(t, c, addr, "written"), keyAt(t, c, addr, "counter")
		_, _ = c.Get(kept)
		check(t, f.fakes[0].Kill())
		_, _ = c.Get(kept)
		time.Sleep(4 * time.Second) // from then on copies live long
		for _, key := range []string{kept, written, counter} {
			check(t, c.Set(&memcache.Item{Key: key, Value: []byte("1")}))
		}
		check(t, f.fakes[0].Restart())
		time.Sleep(time.Second)
		want := func(when, key, value string) {
			t.Helper()
			if it, err := c.Get(key); err != nil || string(it.Value) != value {
				t.Errorf("%s: Get(%q) = %v, %v, want %q", when, key, it, err, value)
			}
			if items, err := c.GetMulti([]string{key}); err != nil || items[key] == nil || string(items[key].Value) != value {
				t.Errorf("%s: GetMulti(%q) = %v, %v, want %q", when, key, items, err, value)
			}
		}
		want("linger", kept, "1")
		check(t, c.Set(&memcache.Item{Key: written, Value: []byte("2")}))
		want("linger", written, "2")
		check(t, c.Add(&memcache.Item{Key: counter, Value: []byte("5")}))
		if it, err := c.Get(counter); err != memcache.ErrCacheMiss { //nolint:errorlint // the very value.
			t.Errorf("linger: Get of what was added at the owner = %v, %v, want ErrCacheMiss", it, err)
		}
		time.Sleep(3 * time.Second)
		want("window", kept, "1")
		want("window", written, "2")
		want("window", counter, "5")
		check(t, c.Delete(written))
		if it, err := c.Get(written); err != memcache.ErrCacheMiss { //nolint:errorlint // the very value.
			t.Errorf("window: Get of a deleted key = %v, %v, want ErrCacheMiss", it, err)
		}
		time.Sleep(10 * time.Minute)
		if it, err := c.Get(kept); err != memcache.ErrCacheMiss { //nolint:errorlint // the very value.
			t.Errorf("after the window: Get = %v, %v, want ErrCacheMiss: a copy is not moved to its owner", it, err)
		}
	})
}

func TestGutterOptions(t *testing.T) {
	for want, g := range map[string]memcache.Gutter{
		"Gutter.Expiration": {Expiration: -1},
		"at most 30 days":   {Expiration: 31 * 24 * time.Hour},
		"Gutter.MaxShare":   {MaxShare: 1.5},
		"MaxShare is NaN":   {MaxShare: math.NaN()},
		"Gutter.Servers":    {Servers: []string{"nowhere"}},
	} {
		_, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{"a:1"}, Gutter: g})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewWithOptions(Gutter: %+v) = %v, want an error with %q", g, err, want)
		}
	}
}

// TestNamedGutterServers: copies go to the servers that are named, which own no keys.
func TestNamedGutterServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		spare := testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: "198.18.0.9:11211"})
		o := withGutter()
		o.Gutter.Servers = []string{spare.Addr()}
		p := f.newProcess(0, o)
		defer func() { check(t, p.client.Close()) }()
		p.ways[spare.Addr()] = &way{fake: spare}
		_, _ = p.client.Get("k")
		for _, fake := range f.fakes[:1] {
			check(t, fake.Kill())
		}
		time.Sleep(time.Second)
		key := keyAt(t, p.client, f.fakes[0].Addr(), "k")
		check(t, p.client.Set(&memcache.Item{Key: key, Value: []byte("v")}))
		if n := spare.Stats().Commands["set"]; n == 0 {
			t.Error("the copy did not go to the server that is named")
		}
		if it, err := p.client.Get(key); err != nil || string(it.Value) != "v" {
			t.Errorf("Get = %v, %v, want the copy", it, err)
		}
	})
}

// TestCopyAtAServerThatWasAway: what a holder of copies misses is deleted there before it is used
// again.
func TestCopyAtAServerThatWasAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		p := f.newProcess(0, withGutter())
		defer func() { check(t, p.client.Close()) }()
		c := p.client
		var addrs []string
		for _, fake := range f.fakes {
			addrs = append(addrs, fake.Addr())
		}
		key := keyAt(t, c, addrs[0], "k")
		first := slices.Index(addrs, memcache.Holders(key, addrs[0], addrs...)[0])
		p.cut(0, true)
		_, _ = c.Get(key)
		check(t, c.Set(&memcache.Item{Key: key, Value: []byte("old")}))
		p.cut(first, true)
		time.Sleep(1500 * time.Millisecond) // a beacon finds it down
		check(t, c.Set(&memcache.Item{Key: key, Value: []byte("new")}))
		if it, err := c.Get(key); err != nil || string(it.Value) != "new" {
			t.Errorf("Get while two servers are down = %v, %v, want the new value", it, err)
		}
		p.cut(first, false)
		time.Sleep(time.Second)
		if st := c.Stats()[addrs[first]]; st.State != breaker.Closed || st.Replayed == 0 {
			t.Fatalf("the holder is not back: %+v", st)
		}
		if it, err := c.Get(key); err == nil && string(it.Value) != "new" {
			t.Errorf("Get after the holder is back = %q, which was overwritten", it.Value)
		}
	})
}

// TestCopiesOfTheFirstMoment: before another process can have heard of the outage it does not see
// to copies, so they live shortly.
func TestCopiesOfTheFirstMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(100))
		a, b := f.newProcess(0, withGutter()), f.newProcess(1, withGutter())
		a.fill()
		b.read(0)
		time.Sleep(5500 * time.Millisecond) // between two beacons
		a.cut(0, true)
		for range 2 { // the second finds copies
			for key := range f.keys.sums {
				a.read(key)
			}
		}
		heard := func() bool {
			it, _ := b.client.Get("holdfast:gutter:" + f.fakes[0].Addr())
			return it != nil
		}
		if !heard() {
			t.Error("others are not told of an outage at once")
		}
		for key := range f.keys.sums {
			b.write(key)
		}
		time.Sleep(beaconsUnheard)
		for key := range f.keys.sums {
			a.read(key)
		}
		if n, oldest := f.staleIn(0, time.Hour, beaconsUnheard); n > 0 {
			t.Errorf("%d reads of values that were old for up to %v, want at most %v", n, oldest, beaconsUnheard)
		}
		check(t, a.client.Close())
		check(t, b.client.Close())
	})
}

const beaconsUnheard = 3*time.Second + loadTime + staleSlack
