package memcachedstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func TestBadOptionsAreNamed(t *testing.T) {
	client := newClient(t, memcache.Options{Servers: []string{"127.0.0.1:1"}})
	for _, x := range []struct {
		client    *memcache.Client
		namespace string
		want      []string
	}{
		{nil, "users", []string{"client is nil"}},
		{client, "", []string{"Options.Namespace", `""`}},
		{client, "my users", []string{"Options.Namespace", `"my users"`}},
		{client, "users\n", []string{"Options.Namespace", `"users\n"`}},
		{client, strings.Repeat("n", 101), []string{"Options.Namespace", "101 bytes"}},
		{client, "a:v", []string{"Options.Namespace", `"a:v"`, "shorter namespace"}}, // its key x would be the key v:x of "a"
		{client, "a:l:b", []string{"Options.Namespace", `"a:l:b"`}},
		{client, "a:v#b", []string{"Options.Namespace", `"a:v#b"`}},
	} {
		_, err := memcachedstore.New(x.client, memcachedstore.Options{Namespace: x.namespace})
		for _, want := range x.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("New(%q): %v, want %s named", x.namespace, err, want)
			}
		}
	}
	for _, good := range []string{strings.Repeat("n", 100), "a:b", "prod:users", "a:vip", "v", "v:l2", "a#"} {
		if _, err := memcachedstore.New(client, memcachedstore.Options{Namespace: good}); err != nil {
			t.Error(err)
		}
	}
}

func TestStateOfEachServer(t *testing.T) {
	s, _, servers := fakeStore(t, 3)
	ctx := t.Context()
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprint(i))
	}
	if _, err := s.GetMulti(ctx, keys); err != nil {
		t.Fatal(err)
	}
	if got := s.Servers(); len(got) != 3 || errors.Join(slices.Collect(maps.Values(got))...) != nil {
		t.Errorf("Servers() = %v, want three that are up", got)
	}
	if err := servers[1].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a server is down", func() bool {
		_, _ = s.GetMulti(ctx, keys)
		got := s.Servers()
		return got[servers[0].Addr()] == nil && got[servers[1].Addr()] != nil && got[servers[2].Addr()] == nil
	})
	if err := servers[1].Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is back", func() bool { return s.Servers()[servers[1].Addr()] == nil })
}

// awkward are keys that memcached cannot carry as they are, and some that look like what others
// become.
func awkward() []string {
	hash := sha256.Sum256([]byte("with a space"))
	return []string{
		"", "42", "v:42", "with a space", "line\r\nbreak", "\x00", "\x7f", "Ä ö", "Äö", strings.Repeat("k", 242), strings.Repeat("k", 243),
		strings.Repeat("long", 1000), "users:v:42", "#" + hex.EncodeToString(hash[:]),
	}
}

func TestAnyKeyIsKept(t *testing.T) {
	s, _, _ := fakeStore(t, 3)
	ctx := t.Context()
	values := make(map[string][]byte)
	for i, key := range awkward() {
		values[key] = fmt.Append(nil, "value ", i)
	}
	if err := s.SetMulti(ctx, values, time.Minute); err != nil {
		t.Fatal(err)
	}
	keys := append(awkward(), "missing", "missing too")
	got, err := s.GetMulti(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(got, values, slices.Equal) {
		t.Errorf("GetMulti() = %q, want %q", got, values)
	}
	if err := s.Delete(ctx, keys[1:]...); err != nil {
		t.Errorf("Delete of keys of which some are not there: %v", err)
	}
	if got, _ := s.GetMulti(ctx, keys); len(got) != 1 || got[""] == nil {
		t.Errorf("GetMulti() = %q after all but one were deleted", got)
	}
}

func TestNothingIsAskedForNothing(t *testing.T) {
	s, _, servers := fakeStore(t, 1)
	ctx := t.Context()
	got, err := s.GetMulti(ctx, nil)
	taken, leaseErr := s.Lease(ctx, nil, time.Second)
	if err := errors.Join(err, leaseErr, s.SetMulti(ctx, nil, time.Second), s.Delete(ctx), s.Release(ctx)); err != nil {
		t.Error(err)
	}
	if len(got)+len(taken) > 0 || servers[0].Stats().Accepted > 0 {
		t.Errorf("got %v and %v, and %d connections; want nothing", got, taken, servers[0].Stats().Accepted)
	}
}

func TestNamespacesAreApart(t *testing.T) {
	users, client, _ := fakeStore(t, 1)
	ctx := t.Context()
	orders, err := memcachedstore.New(client, memcachedstore.Options{Namespace: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	if err := users.SetMulti(ctx, map[string][]byte{"1": []byte("Ada"), "a b": []byte("Bob")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, _ := orders.GetMulti(ctx, []string{"1", "a b"}); len(got) != 0 {
		t.Errorf("the values of another namespace: %q", got)
	}
	if _, err := users.Lease(ctx, []string{"1"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if taken, _ := orders.Lease(ctx, []string{"1"}, time.Minute); taken["1"] {
		t.Error("a lease of another namespace counts")
	}
}

// expirations records what the server is told.
func expirations(server *testutil.Fake) (seen func() []string) {
	var mu sync.Mutex
	var all []string
	server.SetFault(func(cmd testutil.Command) testutil.Fault {
		mu.Lock()
		defer mu.Unlock()
		if cmd.Verb == "set" || cmd.Verb == "add" {
			all = append(all, cmd.Args[2])
		}
		return testutil.Fault{}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func TestTimesAreRoundedUp(t *testing.T) {
	s, _, servers := fakeStore(t, 1)
	seen := expirations(servers[0])
	var want []string
	for i, x := range []struct {
		ttl          time.Duration
		value, lease string
	}{
		{0, "1", "2"},
		{1, "1", "2"},
		{500 * time.Millisecond, "1", "2"},
		{time.Second, "1", "2"},
		{time.Second + 1, "2", "3"},
		{30 * time.Second, "30", "31"},
		{30*24*time.Hour - time.Second, "2591999", "2592000"},
		{30 * 24 * time.Hour, "2592000", "2592000"},
		{10 * 365 * 24 * time.Hour, "2592000", "2592000"},
	} {
		key := fmt.Sprint(i)
		if err := s.SetMulti(t.Context(), map[string][]byte{key: nil}, x.ttl); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Lease(t.Context(), []string{key}, x.ttl); err != nil {
			t.Fatal(err)
		}
		want = append(want, x.value, x.lease)
	}
	if got := seen(); !slices.Equal(got, want) {
		t.Errorf("the server was told %v, want %v", got, want)
	}
}

func TestOneHasTheLease(t *testing.T) {
	s, client, _ := fakeStore(t, 3)
	other := newStore(t, client)
	ctx := t.Context()
	keys := append(awkward(), "only the other's")
	lease := func(s *memcachedstore.Store, keys ...string) map[string]bool {
		t.Helper()
		taken, err := s.Lease(ctx, keys, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	if taken := lease(s, awkward()...); len(taken) != 0 {
		t.Errorf("Lease() = %v taken, want none", taken)
	}
	if taken := lease(other, keys...); len(taken) != len(awkward()) || taken["only the other's"] {
		t.Errorf("Lease() by another = %v taken, want all but one", taken)
	}
	if err := other.Release(ctx, keys...); err != nil {
		t.Errorf("Release of leases of which most are another's: %v", err)
	}
	if taken := lease(other, keys...); len(taken) != len(awkward()) {
		t.Errorf("Lease() = %v taken after somebody else's Release, want all but one", taken)
	}
	if err := s.Release(ctx, append(awkward(), "never had")...); err != nil {
		t.Error(err)
	}
	if taken := lease(other, awkward()...); len(taken) != 0 {
		t.Errorf("Lease() = %v taken after Release, want none", taken)
	}
}

func TestLeaseAndValueAreApart(t *testing.T) {
	s, _, _ := fakeStore(t, 1)
	ctx := t.Context()
	if err := s.SetMulti(ctx, map[string][]byte{"1": []byte("Ada")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if taken, err := s.Lease(ctx, []string{"1"}, time.Minute); err != nil || taken["1"] {
		t.Errorf("Lease() = %v, %v for a key that has a value", taken, err)
	}
	if err := errors.Join(s.Delete(ctx, "1"), s.SetMulti(ctx, map[string][]byte{"1": []byte("Bob")}, time.Minute), s.Release(ctx, "1")); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.GetMulti(ctx, []string{"1"}); string(got["1"]) != "Bob" {
		t.Errorf("GetMulti() = %q after Release, want the value", got)
	}
}

func TestDownIsAnErrorAndNotAMiss(t *testing.T) {
	s, client, servers := fakeStore(t, 2)
	ctx := t.Context()
	values := make(map[string][]byte)
	var up, down []string
	for i := range 40 {
		key := fmt.Sprint(i)
		values[key] = []byte("value")
		if owner, _ := client.Owner("users:v:" + key); owner == servers[0].Addr() {
			down = append(down, key)
		} else {
			up = append(up, key)
		}
	}
	if err := s.SetMulti(ctx, values, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := servers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(up, down)
	check := func(op string, err error) {
		t.Helper()
		var which *memcache.ServerDownError
		if !errors.As(err, &which) || which.Addr != servers[0].Addr() || errors.Is(err, autorefresh.ErrRefused) {
			t.Errorf("%s: %v, want that %s is down", op, err, servers[0].Addr())
		}
	}
	got, err := s.GetMulti(ctx, all)
	check("GetMulti", err)
	if len(got) != len(up) || len(up) == 0 {
		t.Errorf("GetMulti() = %d values, want the %d of the other server", len(got), len(up))
	}
	check("SetMulti", s.SetMulti(ctx, values, time.Minute))
	check("Delete", s.Delete(ctx, all...))
	_, err = s.Lease(ctx, all, time.Minute)
	check("Lease", err)
	check("Release", s.Release(ctx, all...))
}

func TestTooLargeAValueIsRefusedAlone(t *testing.T) {
	s, _, servers := fakeStore(t, 2)
	ctx := t.Context()
	values := map[string][]byte{"large": make([]byte, 2<<20)}
	for i := range 20 {
		values[fmt.Sprint(i)] = []byte("value")
	}
	err := s.SetMulti(ctx, values, time.Minute)
	if !errors.Is(err, autorefresh.ErrRefused) {
		t.Errorf("SetMulti() = %v, want ErrRefused", err)
	}
	if got, err := s.GetMulti(ctx, slices.Collect(maps.Keys(values))); err != nil || len(got) != 20 {
		t.Errorf("GetMulti() = %d values, %v, want those that are not too large", len(got), err)
	}
	for _, server := range servers {
		_ = server.Kill()
	}
	if err := s.SetMulti(ctx, values, time.Minute); errors.Is(err, autorefresh.ErrRefused) || !errors.Is(err, memcache.ErrServerDown) {
		t.Errorf("SetMulti() = %v while the servers are down, want only that", err)
	}
}

func TestContextEndsTheWait(t *testing.T) {
	s, _, servers := fakeStore(t, 1)
	if err := servers[0].Hang(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.GetMulti(ctx, []string{"1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("GetMulti() = %v, want the context's error", err)
	}
	if err := s.SetMulti(ctx, map[string][]byte{"1": nil}, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("SetMulti() = %v, want the context's error", err)
	}
}

// panicky is a selector of the caller's that is broken.
type panicky struct{}

func (panicky) PickServer(string) (net.Addr, error)  { panic("no such zone") }
func (panicky) Each(func(addr net.Addr) error) error { return nil }

// TestPanicOfASelectorIsAnError tells of the selector that panicked and ended the process: some
// keys are stored on goroutines of the store, where nobody can recover.
func TestPanicOfASelectorIsAnError(t *testing.T) {
	client, err := memcache.NewWithOptions(panicky{}, memcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	s := newStore(t, client)
	values := make(map[string][]byte)
	for i := range 20 {
		values[fmt.Sprint(i)] = nil
	}
	_, leased := s.Lease(t.Context(), slices.Collect(maps.Keys(values)), time.Minute)
	for op, err := range map[string]error{
		"SetMulti": s.SetMulti(t.Context(), values, time.Minute), "Delete": s.Delete(t.Context(), slices.Collect(maps.Keys(values))...), "Lease": leased,
	} {
		if err == nil || !strings.Contains(err.Error(), "no such zone") {
			t.Errorf("%s: %v, want what the selector said", op, err)
		}
	}
}
