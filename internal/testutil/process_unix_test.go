//go:build unix

package testutil_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// script returns the path of a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	if _, err := testutil.FindMemcached(); err != nil {
		testutil.Missing(t, "memcached", err)
	}
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLaunchObeysItsContextAndLeavesNothing(t *testing.T) {
	path := script(t, "echo $$ > $0.pid; exec sleep 60\n")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := testutil.LaunchMemcached(ctx, testutil.ProcessOptions{Path: path})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > patience/2 {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if pid := pidIn(t, path+".pid"); syscall.Kill(pid, 0) == nil {
		t.Errorf("process %d is still there", pid)
	}
}

func pidIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestLaunchTakesAnotherPortWhenTheFirstIsTaken(t *testing.T) {
	path := script(t, `
if [ ! -e "$0.ran" ]; then
	touch "$0.ran"
	echo "bind(): Address already in use" >&2
	exit 71
fi
exec memcached "$@"
`)
	p := testutil.StartMemcached(t, testutil.ProcessOptions{Path: path})
	dialWire(t, "tcp", p.Addr()).call(t, "version\r\n")
}

func TestLaunchIsNotFooledByAnotherServerOnItsPort(t *testing.T) {
	path := script(t, `
if [ ! -e "$0.pid" ]; then
	memcached "$@" &
	echo $! > "$0.pid"
	exec sleep 60
fi
exec memcached "$@"
`)
	t.Cleanup(func() { _ = syscall.Kill(pidIn(t, path+".pid"), syscall.SIGKILL) })
	p := testutil.StartMemcached(t, testutil.ProcessOptions{Path: path})
	want := fmt.Sprint("STAT pid ", p.PID())
	if got := dialWire(t, "tcp", p.Addr()).call(t, "stats\r\n"); got != want {
		t.Errorf("the server at %s says %q, want %q", p.Addr(), got, want)
	}
}
