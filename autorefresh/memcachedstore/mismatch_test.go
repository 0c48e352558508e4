package memcachedstore_test

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

	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// stressTime is a second, or ten minutes with HOLDFAST_SOAK=1.
func stressTime() time.Duration {
	if os.Getenv("HOLDFAST_SOAK") == "1" {
		return 10 * time.Minute
	}
	return time.Second
}

// troubled answers in pieces, late, or not to the end, now and then.
func troubled(cmd testutil.Command) testutil.Fault {
	if cmd.Verb == testutil.VerbConnect {
		return testutil.Fault{}
	}
	switch rand.IntN(600) {
	case 0:
		return testutil.CloseMidReply(rand.IntN(40))
	case 1:
		return testutil.Trickle(0, 1+rand.IntN(7))
	case 2:
		return testutil.DelayReply(time.Duration(rand.IntN(3)) * time.Millisecond)
	}
	return testutil.Fault{}
}

// brief is a context that ends within 2 ms, or 40, by its deadline or because the caller leaves.
func brief(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := time.Duration(rand.IntN(2000)*(1+rand.IntN(2)*20)) * time.Microsecond
	if rand.IntN(2) == 0 {
		return context.WithTimeout(ctx, limit)
	}
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(limit, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

// TestMismatch has many callers use stores whose names and keys are alike, on servers that answer
// badly, and leave early. A value says where it belongs.
func TestMismatch(t *testing.T) {
	_, client, servers := fakeStore(t, 2)
	for _, server := range servers {
		server.SetFault(troubled)
	}
	stores := make(map[string]*memcachedstore.Store)
	for _, namespace := range []string{"a", "a:b", "a:v", "a:v:v", "a:l", "a:v#", "a#", "a:", "b"} {
		if s, err := memcachedstore.New(client, memcachedstore.Options{Namespace: namespace}); err == nil { // else it is refused
			stores[namespace] = s
		}
	}
	keys := append(awkward(), "x", "v:x", "v:v:x", "b:v:x", ":v:x", "l:x", "#x")
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

// use stores one key and looks for two.
func use(t *testing.T, s *memcachedstore.Store, namespace, key, other string, hits, wrong *atomic.Int64) {
	ctx, cancel := brief(t.Context())
	defer cancel()
	if rand.IntN(2) == 0 {
		ctx = t.Context() // else nothing would ever be found
	}
	value := fmt.Sprintf("%q %q nonce %d %s", namespace, key, rand.Uint64(), strings.Repeat("p", rand.IntN(300)))
	_ = s.SetMulti(ctx, map[string][]byte{key: []byte(value)}, time.Minute)
	_, _ = s.Lease(ctx, []string{other}, time.Minute)
	found, _ := s.GetMulti(ctx, []string{key, other})
	_ = s.Release(ctx, other)
	for got, data := range found {
		hits.Add(1)
		if !strings.HasPrefix(string(data), fmt.Sprintf("%q %q nonce ", namespace, got)) && wrong.Add(1) < 10 {
			t.Errorf("namespace %q, key %.60q: %.120q", namespace, got, data)
		}
	}
}
