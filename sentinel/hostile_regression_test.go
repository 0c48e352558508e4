package sentinel_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// One rogue sentinel of three, or a server, ended the process with attributes, which go before a
// reply in RESP3. They now end its connection, whatever the protocol.
func TestAFloodOfAttributesEndsNothingButItsConnection(t *testing.T) {
	flood := redis.Raw(strings.Repeat("|0\r\n", 2_500_000) + "+OK\r\n")
	for _, protocol := range []int{2, 3} {
		act(t, sentinel.Options{Protocol: protocol}, func(s *stage) {
			rogue := s.cluster.Sentinels[2]
			rogue.SetFault(redis.Times(2, redis.OnVerbs(flood, "SENTINEL", "PING")))
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			if n := s.count(sentinel.SentinelDown); n == 0 {
				t.Errorf("the rogue sentinel was left %d times", n)
			}
			s.mustWrite()
			s.cluster.Primary().SetFault(redis.Times(1, redis.OnVerbs(flood, "GET")))
			if _, err := get(s.Context(), s.client, "a"); !errors.Is(err, sentinel.ErrOutcomeUnknown) {
				t.Errorf("a read that got the flood: %v", err)
			}
			time.Sleep(time.Second)
			s.mustWrite()
			if got := s.stats(); got.Lost != 0 {
				t.Errorf("the primary was left: %+v", got)
			}
		})
	}
}

func TestALeaseReadsRepliesWithAttributes(t *testing.T) {
	act(t, sentinel.Options{Protocol: 3}, func(s *stage) {
		lease, err := s.client.GetMaster(name)
		if err != nil {
			t.Fatal(err)
		}
		defer s.client.PutMaster(name, lease)
		s.cluster.Primary().SetFault(redis.OnVerbs(redis.Raw("|1\r\n+ttl\r\n:3\r\n|0\r\n$5\r\nvalue\r\n"), "GET"))
		for range 2 {
			if got, err := lease.Cmd("GET", "a").Str(); got != "value" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
}

func TestReplySizesAreChecked(t *testing.T) {
	act(t, sentinel.Options{MaxReply: 1 << 20}, func(s *stage) {
		for size, fits := range map[int]bool{1 << 19: true, 1 << 21: false} {
			if err := set(s.Context(), s.client, "a", strings.Repeat("x", size)); err != nil {
				t.Fatal(err)
			}
			if got, err := get(s.Context(), s.client, "a"); fits != (len(got) == size && err == nil) {
				t.Errorf("a reply of %d bytes: %d, %v", size, len(got), err)
			}
			time.Sleep(time.Second)
		}
	})
	_, err := sentinel.New(t.Context(), []string{"127.0.0.1:1"}, sentinel.Options{Names: []string{name}, MaxReply: 100})
	if !errors.Is(err, sentinel.ErrBadOptions) {
		t.Errorf("a bound of 100 bytes: %v", err)
	}
}
