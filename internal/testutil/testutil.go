// Package testutil provides servers that can be broken on command: memcached and etcd as real
// processes, an in-process fake of memcached and a TCP proxy, all behind one interface.
//
// It is for tests and for the outage drill only; the library itself never imports it. It uses
// nothing but the standard library, and not package testing.
package testutil

import (
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

// RequireServersEnv is the environment variable that turns a missing server binary from a skipped
// test into a failed one when it is set to 1.
const RequireServersEnv = "HOLDFAST_REQUIRE_SERVERS"

var (
	// ErrNotRunning is returned by Hang and Release of a server that has been killed and not
	// restarted.
	ErrNotRunning = host.ErrNotRunning
	// ErrClosed is returned by every method but Close, Addr and Kind once Close has been called.
	ErrClosed = errors.New("testutil: server is closed")
	// ErrCannotHang is returned by Process.Hang and Process.Release where a process cannot be
	// stopped by a signal.
	ErrCannotHang = host.ErrCannotHang
)

// Server is a memcached-protocol server that can be broken on command. *Process, *Fake and *Proxy
// are Servers; all methods may be called from any goroutine.
type Server interface {
	// Addr is where clients reach it: host:port, or the path of a unix socket. It stays the same
	// for life.
	Addr() string
	// Kind names its kind: "memcached 1.6.18", "in-process" or "proxy".
	Kind() string
	// Kill ends it at once: connections are cut and new ones refused. Killing a killed server does
	// nothing.
	Kill() error
	// Restart kills it if it runs and starts it again at the same address, empty and not hung.
	Restart() error
	// Hang makes it silent while the operating system still accepts connections and data, as
	// SIGSTOP does.
	Hang() error
	// Release ends a Hang: it goes on and answers the requests queued meanwhile, as a resumed
	// process does.
	Release() error
	// Close stops it for good, hung or not, and waits until nothing of it is left. It is
	// idempotent.
	Close() error
}

// TB is the part of testing.TB that this package uses.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// Missing ends a test that cannot run because what (a program) is not installed: the test is
// skipped with a message that says so, or fails if HOLDFAST_REQUIRE_SERVERS is 1.
func Missing(tb TB, what string, cause error) {
	tb.Helper()
	if os.Getenv(RequireServersEnv) == "1" {
		tb.Fatalf("%s is required (%s=1) and missing: %v", what, RequireServersEnv, cause)
		return
	}
	Lack(tb, "%s is missing: %v; `make servers` installs it", what, cause)
}

// Lack ends a test that cannot run on this machine: it is skipped, with what the machine lacks. It
// is also said on standard error, as nobody sees why a test was skipped unless all are shown.
func Lack(tb TB, format string, args ...any) {
	tb.Helper()
	text := "SKIPPED, NOT TESTED: " + fmt.Sprintf(format, args...)
	_, _ = fmt.Fprintln(os.Stderr, text)
	tb.Skipf("%s", text)
}

// closeAtEnd closes s when the test ends and reports what goes wrong then.
func closeAtEnd(tb TB, s Server) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Logf("closing %s %s: %v", s.Kind(), s.Addr(), err)
		}
	})
}
