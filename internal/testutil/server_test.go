package testutil_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

type dialFunc = func(context.Context) (net.Conn, error)

func open(t *testing.T, dial dialFunc) *wire {
	t.Helper()
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, conn)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKillRefusesAndRestartStartsAtTheSameAddress(t *testing.T) {
	everyServer(t, func(t *testing.T, s testutil.Server, dial dialFunc) {
		before := open(t, dial)
		if got := before.call(t, set("k", "v")); got != "STORED" {
			t.Fatal(got)
		}
		addr := s.Addr()
		check(t, s.Kill())
		check(t, s.Kill())
		if _, err := before.in.ReadByte(); err == nil {
			t.Fatal("the connection outlives the server")
		}
		if conn, err := dial(t.Context()); err == nil {
			_ = conn.Close()
			t.Fatal("a killed server accepts connections")
		}
		for name, call := range map[string]func() error{"Hang": s.Hang, "Release": s.Release} {
			if err := call(); !errors.Is(err, testutil.ErrNotRunning) {
				t.Errorf("%s after Kill: %v", name, err)
			}
		}
		check(t, s.Restart())
		if s.Addr() != addr {
			t.Fatalf("restarted at %s instead of %s", s.Addr(), addr)
		}
		_, isProxy := s.(*testutil.Proxy)
		if got := open(t, dial).value(t, "k"); (got != "") != isProxy {
			t.Fatalf("after the restart it holds %q", got)
		}
		check(t, s.Restart())
		open(t, dial).call(t, "version\r\n")
	})
}

func TestHangIsSilentAndReleaseAnswersWhatWasQueued(t *testing.T) {
	everyServer(t, func(t *testing.T, s testutil.Server, dial dialFunc) {
		old := open(t, dial)
		old.call(t, set("k", "old"))
		check(t, s.Hang())
		check(t, s.Hang())
		fresh := open(t, dial) // the operating system still accepts
		old.send(t, set("k", "new"))
		fresh.send(t, "version\r\n")
		if !old.isSilent(t, 30*time.Millisecond) || !fresh.isSilent(t, 30*time.Millisecond) {
			t.Fatal("a hung server answers")
		}
		check(t, s.Release())
		if got := old.line(t); got != "STORED" {
			t.Fatalf("the queued set is answered with %q", got)
		}
		if got := fresh.line(t); !strings.HasPrefix(got, "VERSION ") {
			t.Fatalf("the queued version is answered with %q", got)
		}
		check(t, s.Release())
		if got := old.value(t, "k"); got != "new" {
			t.Fatalf("the queued set has left %q", got)
		}
	})
}

func TestAHungServerCanBeKilledRestartedAndClosed(t *testing.T) {
	everyServer(t, func(t *testing.T, s testutil.Server, dial dialFunc) {
		check(t, s.Hang())
		old := open(t, dial)
		old.send(t, "version\r\n")
		check(t, s.Kill())
		if _, err := old.in.ReadByte(); err == nil {
			t.Fatal("a killed server answers")
		}
		check(t, s.Restart())
		open(t, dial).call(t, "version\r\n")
		check(t, s.Hang())
		check(t, s.Restart())
		open(t, dial).call(t, "version\r\n")
		check(t, s.Hang())
		check(t, s.Close())
	})
}

func TestCloseIsForGood(t *testing.T) {
	everyServer(t, func(t *testing.T, s testutil.Server, dial dialFunc) {
		conn := open(t, dial)
		check(t, s.Close())
		check(t, s.Close())
		if _, err := conn.in.ReadByte(); err == nil {
			t.Fatal("the connection outlives the server")
		}
		for name, call := range map[string]func() error{
			"Kill": s.Kill, "Restart": s.Restart, "Hang": s.Hang, "Release": s.Release,
		} {
			if err := call(); !errors.Is(err, testutil.ErrClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		if conn, err := dial(t.Context()); err == nil {
			_ = conn.Close()
			t.Fatal("a closed server accepts connections")
		}
		if folder := filepath.Dir(s.Addr()); folder != "." {
			if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder %s of the socket is left: %v", folder, err)
			}
		}
	})
}

func TestServersNameTheirKind(t *testing.T) {
	want := map[string]string{"process": "memcached 1.", "unix socket": "memcached 1.", "proxy": "proxy"}
	everyServer(t, func(t *testing.T, s testutil.Server, _ dialFunc) {
		_, name, _ := strings.Cut(t.Name(), "/")
		prefix, ok := want[strings.ReplaceAll(name, "_", " ")]
		if !ok {
			prefix = "in-process"
		}
		if !strings.HasPrefix(s.Kind(), prefix) {
			t.Errorf("Kind is %q, want %q", s.Kind(), prefix)
		}
	})
}

func TestMissingProgramIsAnError(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := testutil.FindMemcached(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("FindMemcached: %v", err)
	}
	if _, err := testutil.LaunchMemcached(t.Context(), testutil.ProcessOptions{}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("LaunchMemcached: %v", err)
	}
}

// recorder is a TB that notes how a test would have ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Skipf(format string, args ...any)  { r.skipped = fmt.Sprintf(format, args...) }
func (r *recorder) Fatalf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }

func TestMissingProgramSkipsOrFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, required := range []string{"", "1"} {
		t.Setenv(testutil.RequireServersEnv, required)
		r := &recorder{TB: t}
		if testutil.StartMemcached(r) != nil {
			t.Error("a server that cannot be started has been returned")
		}
		if (r.skipped != "") != (required == "") || (r.failed != "") != (required == "1") {
			t.Errorf("with %s=%q: skipped %q, failed %q", testutil.RequireServersEnv, required, r.skipped, r.failed)
		}
	}
}

func TestLaunchTellsWhatTheProgramSays(t *testing.T) {
	if _, err := testutil.FindMemcached(); err != nil {
		testutil.Missing(t, "memcached", err)
	}
	_, err := testutil.LaunchMemcached(t.Context(), testutil.ProcessOptions{Args: []string{"-I", "1"}})
	if err == nil || !strings.Contains(err.Error(), "Item max size") {
		t.Errorf("the message of the program is lost: %v", err)
	}
}

func TestProcessDiesByItselfAndComesBack(t *testing.T) {
	p := testutil.StartMemcached(t, testutil.ProcessOptions{Args: []string{"-A"}, MemoryMB: 16})
	w := dialWire(t, p.Network(), p.Addr())
	pid := p.PID()
	w.send(t, "shutdown\r\n")
	if _, err := io.Copy(io.Discard, w.in); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	check(t, p.Restart())
	if p.PID() == pid {
		t.Fatal("the process is the old one")
	}
	dialWire(t, p.Network(), p.Addr()).call(t, "version\r\n")
}

func TestManyProcessesAtOnceGetTheirOwnPorts(t *testing.T) {
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			p := testutil.StartMemcached(t, testutil.ProcessOptions{MemoryMB: 8})
			w := dialWire(t, "tcp", p.Addr())
			if got := w.call(t, fmt.Sprintf("add k 0 0 1\r\n%d\r\n", i)); got != "STORED" {
				t.Errorf("two servers share %s: %s", p.Addr(), got)
			}
		})
	}
}
