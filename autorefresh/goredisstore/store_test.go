package goredisstore_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/goredisstore"
	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	servers "github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unhurried is the time that a server may stand still: the machine may be busy.
const unhurried = 10 * time.Second

func open(t *testing.T, addr string) *goredisstore.Store {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: unhurried, WriteTimeout: unhurried, DialTimeout: unhurried})
	t.Cleanup(func() { _ = client.Close() })
	s, err := goredisstore.New(client, goredisstore.Options{Namespace: "users"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnyKeyAndManyKeys(t *testing.T) {
	s, ctx := open(t, servers.StartServer(t).Addr()), t.Context()
	values := map[string][]byte{"": []byte("empty"), "with a space\r\n": {0, '\r', '\n', 0xff}, "large": bytes.Repeat([]byte("x"), 3<<20)}
	for i := range 1000 {
		values[fmt.Sprint(i)] = fmt.Append(nil, "value ", i)
	}
	keys := slices.Collect(maps.Keys(values))
	must(t, s.SetMulti(ctx, values, time.Minute))
	got, err := s.GetMulti(ctx, append(keys, "missing"))
	if err != nil || !maps.EqualFunc(got, values, bytes.Equal) {
		t.Errorf("GetMulti() = %d values, %v; want those that were set, %d", len(got), err, len(values))
	}
	must(t, s.Delete(ctx, append(keys, "missing")...))
	if got, err := s.GetMulti(ctx, keys); err != nil || len(got) != 0 {
		t.Errorf("GetMulti() = %d values, %v after all were deleted", len(got), err)
	}
	marked := make(map[string]autorefresh.Marked)
	for key, value := range values {
		marked[key] = autorefresh.Marked{Value: value, Mark: "mark of " + key}
	}
	must(t, s.SetUnlessMarked(ctx, marked, time.Minute))
	if got, err := s.GetMulti(ctx, keys); err != nil || !maps.EqualFunc(got, values, bytes.Equal) {
		t.Errorf("GetMulti() = %d values, %v after SetUnlessMarked of %d", len(got), err, len(values))
	}
	must(t, s.SetMulti(ctx, nil, time.Minute))
	if got, err := s.GetMulti(ctx, nil); err != nil || len(got) != 0 {
		t.Errorf("nothing was asked for: %v, %v", got, err)
	}
}

// A process with redisstore and one with this store are replicas of one cache.
func TestRedisstoreIsTheSame(t *testing.T) {
	server := servers.StartServer(t)
	mine, ctx := open(t, server.Addr()), t.Context()
	client, err := sentinel.New(ctx, nil, sentinel.Options{
		Names: []string{"mymaster"}, Servers: []string{server.Addr()}, HeartbeatTimeout: unhurried, DialTimeout: unhurried,
	})
	must(t, err)
	t.Cleanup(client.Close)
	other, err := redisstore.New(client, redisstore.Options{Primary: "mymaster", Namespace: "users"})
	must(t, err)
	type store interface {
		autorefresh.Store
		autorefresh.Leaser
		autorefresh.Marker
	}
	for _, pair := range [][2]store{{mine, other}, {other, mine}} {
		a, b := pair[0], pair[1]
		must(t, a.SetMulti(ctx, map[string][]byte{"1": []byte("one"), "mark": []byte("m1")}, time.Minute))
		if got, err := b.GetMulti(ctx, []string{"1", "2"}); err != nil || len(got) != 1 || string(got["1"]) != "one" {
			t.Errorf("%T reads %q, %v of what %T has set", b, got, err, a)
		}
		must(t, b.SetUnlessMarked(ctx, map[string]autorefresh.Marked{
			"seen":     {Value: []byte("x"), Mark: "mark", Seen: []byte("m1")},
			"unseen":   {Value: []byte("x"), Mark: "mark", Seen: []byte("m0")},
			"unmarked": {Value: []byte("x"), Mark: "no mark"},
		}, time.Minute))
		got, err := a.GetMulti(ctx, []string{"seen", "unseen", "unmarked"})
		if err != nil || len(got) != 2 || got["unseen"] != nil {
			t.Errorf("%T has stored %q, %v; want those whose mark is as it was seen", b, got, err)
		}
		if taken, err := a.Lease(ctx, []string{"1", "2"}, time.Hour); err != nil || len(taken) != 0 {
			t.Errorf("Lease() = %v, %v", taken, err)
		}
		must(t, b.Release(ctx, "1", "2", "never had"))
		if taken, err := b.Lease(ctx, []string{"1", "3"}, time.Hour); err != nil || !taken["1"] || taken["3"] {
			t.Errorf("Lease() by another = %v, %v; want 1 taken alone", taken, err)
		}
		must(t, a.Release(ctx, "1", "2"))
		must(t, b.Release(ctx, "3"))
		must(t, a.Delete(ctx, "1", "mark", "seen", "unmarked"))
	}
}

func TestValuesAndLeasesEnd(t *testing.T) {
	s, ctx := open(t, servers.StartServer(t).Addr()), t.Context()
	must(t, s.SetMulti(ctx, map[string][]byte{"1": nil}, time.Nanosecond)) // rounded up
	if _, err := s.Lease(ctx, []string{"1"}, 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(unhurried); ; time.Sleep(5 * time.Millisecond) {
		got, err := s.GetMulti(ctx, []string{"1"})
		must(t, err)
		taken, err := s.Lease(ctx, []string{"1"}, time.Hour)
		must(t, err)
		if len(got) == 0 && len(taken) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the value is %q, and the lease %v", got, taken)
		}
	}
}

func TestWhatCannotWorkIsRefused(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{})
	ring := redis.NewRing(&redis.RingOptions{})
	t.Cleanup(func() {
		_ = client.Close()
		_ = cluster.Close()
		_ = ring.Close()
	})
	for want, try := range map[string]func() (*goredisstore.Store, error){
		"client is nil": func() (*goredisstore.Store, error) {
			return goredisstore.New(nil, goredisstore.Options{Namespace: "a"})
		},
		"a nil *redis": func() (*goredisstore.Store, error) {
			return goredisstore.New((*redis.Client)(nil), goredisstore.Options{Namespace: "a"})
		},
		"*redis.Cluster": func() (*goredisstore.Store, error) {
			return goredisstore.New(cluster, goredisstore.Options{Namespace: "a"})
		},
		"*redis.Ring": func() (*goredisstore.Store, error) {
			return goredisstore.New(ring, goredisstore.Options{Namespace: "a"})
		},
		`Namespace is ""`: func() (*goredisstore.Store, error) { return goredisstore.New(client, goredisstore.Options{}) },
		`is "a:v"`: func() (*goredisstore.Store, error) {
			return goredisstore.New(client, goredisstore.Options{Namespace: "a:v"})
		},
		`is "a:l:b"`: func() (*goredisstore.Store, error) {
			return goredisstore.New(client, goredisstore.Options{Namespace: "a:l:b"})
		},
	} {
		if s, err := try(); s != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
