package redisstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func TestBadOptionsAreNamed(t *testing.T) {
	cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{Name: primary})
	client := follow(t, cluster.SentinelAddrs(), sentinel.Endpoint{Dial: cluster.Net.Dial})
	for _, x := range []struct {
		client *sentinel.Client
		o      redisstore.Options
		want   []string
	}{
		{nil, redisstore.Options{Primary: primary, Namespace: "users"}, []string{"client is nil"}},
		{client, redisstore.Options{Namespace: "users"}, []string{"Options.Primary", `""`}},
		{client, redisstore.Options{Primary: "other", Namespace: "users"}, []string{"Options.Primary", `"other"`}},
		{client, redisstore.Options{Primary: primary}, []string{"Options.Namespace", `""`}},
		{client, redisstore.Options{Primary: primary, Namespace: "a:v"}, []string{"Options.Namespace", `"a:v"`, "shorter namespace"}},
		{client, redisstore.Options{Primary: primary, Namespace: "a:l:b"}, []string{"Options.Namespace", `"a:l:b"`}},
	} {
		_, err := redisstore.New(x.client, x.o)
		for _, want := range x.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("New(%+v): %v, want %s named", x.o, err, want)
			}
		}
	}
	if _, err := redisstore.New(client, redisstore.Options{Primary: primary, Namespace: "prod:users"}); err != nil {
		t.Error(err)
	}
}

func TestAnyKeyAndManyKeys(t *testing.T) {
	s, _ := fakeStore(t)
	ctx := t.Context()
	values := map[string][]byte{"": []byte("empty"), "with a space\r\n": {0, '\r', '\n', 0xff}, "large": bytes.Repeat([]byte("x"), 3<<20)}
	for i := range 1000 {
		values[fmt.Sprint(i)] = fmt.Append(nil, "value ", i)
	}
	keys := slices.Collect(maps.Keys(values))
	if err := s.SetMulti(ctx, values, time.Minute); err != nil {
		t.Fatal(err)
	}
	got, err := s.GetMulti(ctx, append(keys, "missing"))
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(got, values, bytes.Equal) {
		t.Errorf("GetMulti() = %d values, want those that were set, %d", len(got), len(values))
	}
	if err := s.Delete(ctx, append(keys, "missing")...); err != nil {
		t.Error(err)
	}
	if got, err := s.GetMulti(ctx, keys); err != nil || len(got) != 0 {
		t.Errorf("GetMulti() = %d values, %v after all were deleted", len(got), err)
	}
}

func TestNothingIsAskedForNothing(t *testing.T) {
	s, cluster := fakeStore(t)
	ctx := t.Context()
	before := cluster.Primary().Stats().Commands
	got, err := s.GetMulti(ctx, nil)
	taken, leaseErr := s.Lease(ctx, nil, time.Second)
	if err := errors.Join(err, leaseErr, s.SetMulti(ctx, nil, time.Second), s.Delete(ctx), s.Release(ctx)); err != nil {
		t.Error(err)
	}
	after := cluster.Primary().Stats().Commands
	for _, verb := range []string{"GET", "MGET", "SET", "DEL", "EVAL"} {
		if after[verb] > before[verb] {
			t.Errorf("%d times %s", after[verb]-before[verb], verb)
		}
	}
	if len(got)+len(taken) > 0 {
		t.Errorf("got %v and %v, want nothing", got, taken)
	}
}

func TestTimesAreRoundedUp(t *testing.T) {
	s, cluster := fakeStore(t)
	ctx := t.Context()
	var want []string
	for i, x := range []struct {
		ttl  time.Duration
		want string
	}{
		{0, "1"}, {1, "1"}, {time.Millisecond, "1"}, {time.Millisecond + 1, "2"}, {time.Second, "1000"}, {30 * 24 * time.Hour, "2592000000"},
	} {
		if err := s.SetMulti(ctx, map[string][]byte{"v": nil}, x.ttl); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Lease(ctx, []string{fmt.Sprint(i)}, x.ttl); err != nil {
			t.Fatal(err)
		}
		want = append(want, "PX "+x.want, "NX PX "+x.want)
	}
	var got []string
	for _, c := range cluster.Primary().Commands() {
		if c.Verb() == "SET" {
			got = append(got, strings.Join(c.Args[3:], " "))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the server was told %v, want %v", got, want)
	}
}

func TestOneHasTheLease(t *testing.T) {
	s, cluster := fakeStore(t)
	other := newStore(t, follow(t, cluster.SentinelAddrs(), sentinel.Endpoint{Dial: cluster.Net.Dial}))
	keys := []string{"", "1", "a b"}
	for i := range 600 {
		keys = append(keys, fmt.Sprint("many ", i))
	}
	if taken, err := s.Lease(t.Context(), keys, time.Minute); err != nil || len(taken) != 0 {
		t.Errorf("Lease() = %v, %v, want all", taken, err)
	}
	taken, err := other.Lease(t.Context(), append(keys, "only the other's"), time.Minute)
	if err != nil || len(taken) != len(keys) || taken["only the other's"] {
		t.Errorf("Lease() by another = %d taken, %v, want all but one", len(taken), err)
	}
}

func TestReleaseAsksOnceForManyAndShowsItsToken(t *testing.T) {
	s, cluster := fakeStore(t)
	if _, err := s.Lease(t.Context(), []string{"1"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), "1", "2"); err != nil {
		t.Fatal(err)
	}
	var token string
	var evals [][]string
	for _, c := range cluster.Primary().Commands() {
		switch c.Verb() {
		case "SET":
			token = c.Args[2]
		case "EVAL":
			evals = append(evals, c.Args[2:])
		}
	}
	want := []string{"2", "users:l:1", "users:l:2", token}
	if len(evals) != 1 || !slices.Equal(evals[0], want) || len(token) < 20 {
		t.Errorf("EVAL with %q, want once with %q", evals, want)
	}
}

func TestDownIsAnErrorAndNotAMiss(t *testing.T) {
	s, cluster := fakeStore(t)
	ctx := t.Context()
	if err := s.SetMulti(ctx, map[string][]byte{"1": []byte("value")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := s.Servers(); len(got) != 1 || got[primary] != nil {
		t.Errorf("Servers() = %v, want the primary up", got)
	}
	if err := cluster.Primary().Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the primary is down", func() bool { return s.Servers()[primary] != nil })
	calls := map[string]func() error{
		"GetMulti": func() error { _, err := s.GetMulti(ctx, []string{"1"}); return err },
		"SetMulti": func() error { return s.SetMulti(ctx, map[string][]byte{"1": nil}, time.Minute) },
		"Delete":   func() error { return s.Delete(ctx, "1") },
		"Lease":    func() error { _, err := s.Lease(ctx, []string{"1"}, time.Minute); return err },
		"Release":  func() error { return s.Release(ctx, "1") },
	}
	for op, call := range calls {
		if err := call(); !errors.Is(err, sentinel.ErrNotSent) && !errors.Is(err, sentinel.ErrOutcomeUnknown) {
			t.Errorf("%s: %v, want that there is no primary", op, err)
		}
	}
}

// Values have their keys by their places. Of an answer that lacks one, the last key's value was
// taken for the first's.
func TestAnAnswerThatLacksAValueIsAnError(t *testing.T) {
	s, cluster := fakeStore(t)
	for _, answer := range []string{"*1\r\n$5\r\nof 2!\r\n", "*0\r\n", "*-1\r\n", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"} {
		cluster.Primary().SetFault(redis.OnVerbs(redis.Raw(answer), "MGET"))
		if got, err := s.GetMulti(t.Context(), []string{"1", "2"}); err == nil || len(got) > 0 || !strings.Contains(err.Error(), "2 keys") {
			t.Errorf("GetMulti() = %q, %v after the answer %q", got, err, answer)
		}
	}
}

func TestErrorReplyIsAnError(t *testing.T) {
	s, cluster := fakeStore(t)
	ctx := t.Context()
	cluster.Primary().SetFault(redis.OnVerbs(redis.Raw("-OOM command not allowed when used memory > 'maxmemory'.\r\n"), "SET"))
	if err := s.SetMulti(ctx, map[string][]byte{"1": nil, "2": nil}, time.Minute); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("SetMulti() = %v, want the server's words", err)
	}
	if taken, err := s.Lease(ctx, []string{"1", "2"}, time.Minute); err == nil || len(taken) != 0 {
		t.Errorf("Lease() = %v, %v, want an error and nothing taken", taken, err)
	}
	cluster.Primary().SetFault(nil)
	if got, err := s.GetMulti(ctx, []string{"1"}); err != nil || len(got) != 0 {
		t.Errorf("GetMulti() = %v, %v", got, err)
	}
}
