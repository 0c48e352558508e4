package testutil_test

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
)

// parentEnv makes TestProcessDiesWithItsParent play the parent.
const parentEnv = "TESTUTIL_TEST_PARENT"

func TestProcessDiesWithItsParent(t *testing.T) {
	if os.Getenv(parentEnv) != "" {
		fmt.Println("child", testutil.StartMemcached(t).PID())
		time.Sleep(time.Minute) // until killed
	}
	if _, err := testutil.FindMemcached(); err != nil {
		testutil.Missing(t, "memcached", err)
	}
	parent := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessDiesWithItsParent$")
	parent.Env = append(os.Environ(), parentEnv+"=1")
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
	for begin := time.Now(); isRunning(child); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			_ = syscall.Kill(child, syscall.SIGKILL)
			t.Fatalf("process %d outlives its parent", child)
		}
	}
}

// isRunning reports whether there is such a process and it is not just waiting to be reaped.
func isRunning(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
