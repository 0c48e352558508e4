package redis_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// parentEnv makes TestServerDiesWithItsParent play the parent.
const parentEnv = "REDIS_TEST_PARENT"

func TestServerDiesWithItsParent(t *testing.T) {
	if os.Getenv(parentEnv) != "" {
		fmt.Println("child", redis.StartServer(t).PID())
		time.Sleep(time.Minute) // until killed
	}
	if _, err := redis.FindServer(); err != nil {
		testutil.Missing(t, "redis-server", err)
	}
	parent := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServerDiesWithItsParent$")
	parent.Env = append(os.Environ(), parentEnv+"=1", "TMPDIR="+t.TempDir())
	out, err := parent.StdoutPipe()
	check(t, err)
	check(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	check(t, err)
	child, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), "child "))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	check(t, parent.Process.Kill())
	_ = parent.Wait() // it has been killed
	t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })
	eventually(t, fmt.Sprintf("the end of process %d", child), func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ") // or it just waits to be reaped
	})
}
