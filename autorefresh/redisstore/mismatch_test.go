package redisstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/redisstore"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// stressTime is a second, or ten minutes with HOLDFAST_SOAK=1.
func stressTime() time.Duration {
	if os.Getenv("HOLDFAST_SOAK") == "1" {
		return 10 * time.Minute
	}
	return time.Second
}

// TestMismatch has many callers use stores whose names and keys are alike, and leave early. A value
// says where it belongs.
func TestMismatch(t *testing.T) {
	cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{Name: primary})
	reach := sentinel.Endpoint{Dial: cluster.Net.Dial}
	client := followWith(t, cluster.SentinelAddrs(), sentinel.Options{Names: []string{primary}, Server: reach, Sentinel: reach, HeartbeatTimeout: 10 * time.Second})
	stores := make(map[string]*redisstore.Store)
	for _, namespace := range []string{"a", "a:b", "a:v", "a:v:v", "a:l", "a:", "b"} {
		if s, err := redisstore.New(client, redisstore.Options{Primary: primary, Namespace: namespace}); err == nil { // else it is refused
			stores[namespace] = s
		}
	}
	keys := []string{"", "x", "v:x", "v:v:x", "b:v:x", ":v:x", "l:x", "line\r\nbreak", "\x00"}
	var hits, wrong atomic.Int64
	var callers sync.WaitGroup
	end := time.Now().Add(stressTime())
	for range 64 {
		callers.Go(func() {
			for time.Now().Before(end) || hits.Load() == 0 && time.Now().Before(end.Add(30*time.Second)) { // longer on a busy machine
				for namespace, s := range stores {
					use(t, s, namespace, keys[rand.IntN(len(keys))], keys[rand.IntN(len(keys))], &hits, &wrong)
				}
			}
		})
	}
	callers.Wait()
	if hits.Load() == 0 {
		t.Error("no value was ever found")
	}
	t.Logf("%d values found, %d of them others'", hits.Load(), wrong.Load())
}

// use stores one key and looks for two, within 2 ms, or 40, or as long as it takes.
func use(t *testing.T, s *redisstore.Store, namespace, key, other string, hits, wrong *atomic.Int64) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(2000)*(1+rand.IntN(2)*20))*time.Microsecond)
	defer cancel()
	if rand.IntN(4) == 0 {
		ctx = t.Context() // else a busy machine would never find anything
	}
	value := fmt.Sprintf("%q %q nonce %d %s", namespace, key, rand.Uint64(), strings.Repeat("p", rand.IntN(300)))
	_ = s.SetMulti(ctx, map[string][]byte{key: []byte(value)}, time.Minute)
	_, _ = s.Lease(ctx, []string{other}, time.Minute)
	found, _ := s.GetMulti(ctx, []string{key, other})
	for got, data := range found {
		hits.Add(1)
		if !strings.HasPrefix(string(data), fmt.Sprintf("%q %q nonce ", namespace, got)) && wrong.Add(1) < 10 {
			t.Errorf("namespace %q, key %q: %.120q", namespace, got, data)
		}
	}
}
