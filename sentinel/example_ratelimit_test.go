package sentinel_test

import (
	"context"
	"fmt"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel"
)

// limiter counts hits in windows, as services do that limit rates: with pipelines, and without a
// deadline. It takes what radix' own sentinel client is, and what Client.Primary returns.
type limiter struct{ client radix.MultiClient }

// hit counts one hit in the window that began at a second, and returns how many there were.
func (l limiter) hit(key string, window int64) (int64, error) {
	var hits int64
	bucket := fmt.Sprintf("%s_%d", key, window)
	pipeline := radix.NewPipeline()
	pipeline.Append(radix.FlatCmd(&hits, "INCRBY", bucket, 1))
	pipeline.Append(radix.FlatCmd(nil, "EXPIRE", bucket, 60))
	err := l.client.Do(context.Background(), pipeline) // not in the return: hits might be read before
	return hits, err
}

// allow lets everybody pass while redis is away: the limit is not worth an outage.
func (l limiter) allow(key string, window, limit int64) bool {
	hits, err := l.hit(key, window)
	return err != nil || hits <= limit
}

// A service that calls Do with context.Background() changes where its client is made. With radix'
// own
//
//	client, err := (radix.SentinelConfig{}).New(ctx, "bucket0", sentinels)
//
// every goroutine that counts a hit while the primary hangs stays in Do for as long as it hangs.
// Here each is answered when the primary is given up, and all others at once.
func ExampleClient_Primary_rateLimit() {
	cluster, reach := demo()
	defer func() { _ = cluster.Net.Close() }()
	options := sentinel.Options{Names: []string{"bucket0"}, Server: reach, Sentinel: reach}

	client, err := sentinel.New(context.Background(), cluster.SentinelAddrs(), options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	limit := limiter{client.Primary("bucket0")}

	for range 3 {
		fmt.Println(limit.allow("user-1", 1_700_000_000, 2))
	}
	_ = cluster.Primary().Kill()
	begin := time.Now()
	fmt.Println("without redis:", limit.allow("user-1", 1_700_000_000, 2), time.Since(begin) < 10*time.Second)
	// Output:
	// true
	// true
	// false
	// without redis: true true
}
