package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// TestWhereToProbe: the decision alone.
func TestWhereToProbe(t *testing.T) {
	a, b, d := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	for _, c := range []struct {
		why   string
		at    netip.Addr
		addrs []netip.Addr
		down  time.Duration
		want  []netip.Addr // of the probes in turn
	}{
		{"the name service is down", a, nil, time.Hour, []netip.Addr{a, a, a}},
		{"not known yet", netip.Addr{}, []netip.Addr{b, d}, 0, []netip.Addr{b, d, b}},
		{"within the grace", a, []netip.Addr{b, a}, time.Second, []netip.Addr{a, a, a}},
		{"after the grace", a, []netip.Addr{b, a}, time.Minute, []netip.Addr{a, b, a}},
		{"gone from the name", a, []netip.Addr{b, d}, 0, []netip.Addr{b, d, b}},
	} {
		for attempt, want := range c.want {
			if got := server.Candidate(c.at, c.addrs, c.down, attempt); got != want {
				t.Errorf("%s: probe %d goes to %v, want %v", c.why, attempt, got, want)
			}
		}
	}
}

// TestLoginRefusedIsTriedRarely: somebody has to mend something first.
func TestLoginRefusedIsTriedRarely(t *testing.T) {
	for attempt := range 10 {
		if d := server.ProbeDelay(faults.ErrAuth, attempt); d < 500*time.Millisecond || d > 30*time.Second {
			t.Errorf("delay before probe %d = %v, want between 0.5 s and 30 s", attempt, d)
		}
	}
}

// TestReplayThatIsCutShortResets tells of the deletions of a second batch that were given up: their
// connection was closed politely, because the first batch had been answered, and they went on to
// arrive whenever the network let them.
func TestReplayThatIsCutShortResets(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ended := make(chan error, 1)
	go func() {
		socket, err := listener.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer func() { _ = socket.Close() }()
		in := bufio.NewReader(socket)
		for line := ""; err == nil && !strings.Contains(line, protocol.CanaryKey); {
			line, err = in.ReadString('\n')
		}
		_, err = io.WriteString(socket, strings.Repeat("NOT_FOUND\r\n", server.ReplayBatch)+"END\r\n")
		for err == nil {
			_, err = in.ReadString('\n')
		}
		ended <- err
	}()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.DeleteAll(conn, server.ReplayBatch+100); err == nil {
		t.Error("DeleteAll = nil, but the second batch was not answered")
	}
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw the end as %v, want a reset", err)
	}
}
