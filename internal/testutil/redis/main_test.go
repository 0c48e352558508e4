package redis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// side is how many tests run side by side that say they may: most of their time they wait for real
// sentinels.
const side = "6"

// TestMain looks for goroutines and temporary folders that the tests have left behind.
func TestMain(m *testing.M) {
	if err := testutil.SideBySide(side); err != nil {
		panic(err)
	}
	folder, err := os.MkdirTemp("", "holdfast-test")
	if err == nil {
		err = os.Setenv("TMPDIR", folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if left, _ := filepath.Glob(filepath.Join(folder, "holdfast-*")); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "left behind: %v\n", left)
			code = max(code, 1)
		}
		_ = os.RemoveAll(folder)
		os.Exit(code)
	}))
}

var (
	_ testutil.Server = (*redis.Server)(nil)
	_ testutil.Server = (*redis.Sentinel)(nil)
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// giveUp is the time at which a test that waits for a failover gives up.
func giveUp() time.Time { return time.Now().Add(3 * patience) }
