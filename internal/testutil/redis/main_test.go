package redis_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ testutil.Server = (*redis.Server)(nil)
	_ testutil.Server = (*redis.Sentinel)(nil)
)

// patience is how long a test waits for what has to come.
const patience = 10 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// giveUp is the time at which a test that waits for a failover gives up.
func giveUp() time.Time { return time.Now().Add(3 * patience) }
