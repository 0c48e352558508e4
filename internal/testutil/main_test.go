package testutil_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ testutil.Server = (*testutil.Process)(nil)
	_ testutil.Server = (*testutil.Fake)(nil)
	_ testutil.Server = (*testutil.Proxy)(nil)
	_ testutil.TB     = testing.TB(nil)
)

// patience is how long a test waits for what has to come.
const patience = time.Minute

// wire is a raw connection to a server.
type wire struct {
	net.Conn
	in *bufio.Reader
}

func newWire(t *testing.T, conn net.Conn) *wire {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	w := &wire{Conn: conn, in: bufio.NewReaderSize(conn, 1<<21)}
	w.begin(t)
	return w
}

// begin has patience begin anew.
func (w *wire) begin(t *testing.T) {
	t.Helper()
	if err := w.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

func dialWire(t *testing.T, network, addr string) *wire {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, conn)
}

func dialFake(t *testing.T, f *testutil.Fake) *wire {
	t.Helper()
	conn, err := f.Dial(t.Context(), "tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, conn)
}

func (w *wire) send(t *testing.T, text string) {
	t.Helper()
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatalf("sending %.40q: %v", text, err)
	}
}

// line returns the next line without its end.
func (w *wire) line(t *testing.T) string {
	t.Helper()
	text, err := w.in.ReadString('\n')
	if err != nil {
		t.Fatalf("after %.40q: %v", text, err)
	}
	return strings.TrimSuffix(text, "\r\n")
}

// call sends text and returns the first line of the reply.
func (w *wire) call(t *testing.T, text string) string {
	t.Helper()
	w.send(t, text)
	return w.line(t)
}

// value returns what get finds under key, or "" if it finds nothing.
func (w *wire) value(t *testing.T, key string) string {
	t.Helper()
	header := w.call(t, "get "+key+"\r\n")
	if header == "END" {
		return ""
	}
	words := strings.Fields(header)
	size, err := strconv.Atoi(words[len(words)-1])
	if err != nil || words[1] != key {
		t.Fatalf("get %s: %q", key, header)
	}
	value := make([]byte, size)
	for i := range value {
		if value[i], err = w.in.ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	if rest := w.line(t) + w.line(t); rest != "END" {
		t.Fatalf("get %s ends with %q", key, rest)
	}
	return string(value)
}

func set(key, value string) string {
	return fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, len(value), value)
}

// isSilent reports whether nothing arrives for a while.
func (w *wire) isSilent(t *testing.T, d time.Duration) bool {
	t.Helper()
	if err := w.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	_, err := w.in.Peek(1)
	if err := w.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	timeout, ok := err.(net.Error) //nolint:errorlint // the connection returns it bare
	return ok && timeout.Timeout()
}

// everyServer runs test on each kind of server there is.
func everyServer(t *testing.T, test func(t *testing.T, s testutil.Server, dial func(context.Context) (net.Conn, error))) {
	t.Helper()
	byNetwork := func(network string, s testutil.Server) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, s.Addr())
		}
	}
	t.Run("process", func(t *testing.T) {
		s := testutil.StartMemcached(t)
		test(t, s, byNetwork("tcp", s))
	})
	t.Run("unix socket", func(t *testing.T) {
		s := testutil.StartMemcached(t, testutil.ProcessOptions{Unix: true})
		test(t, s, byNetwork("unix", s))
	})
	t.Run("fake", func(t *testing.T) {
		s := testutil.StartFake(t)
		test(t, s, byNetwork("tcp", s))
	})
	t.Run("fake in memory", func(t *testing.T) {
		s := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
		test(t, s, func(ctx context.Context) (net.Conn, error) { return s.Dial(ctx, "tcp", s.Addr()) })
	})
	t.Run("proxy", func(t *testing.T) {
		s := testutil.StartProxy(t, testutil.StartFake(t).Addr())
		test(t, s, byNetwork("tcp", s))
	})
}
