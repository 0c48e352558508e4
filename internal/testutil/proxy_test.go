package testutil_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

func newProxiedFake(t *testing.T) (*testutil.Proxy, *testutil.Fake) {
	t.Helper()
	f := testutil.StartFake(t)
	return testutil.StartProxy(t, f.Addr()), f
}

// roundTrip returns the median time of a small request.
func roundTrip(t *testing.T, w *wire, n int) time.Duration {
	t.Helper()
	times := make([]time.Duration, n)
	w.begin(t)
	for i := range times {
		begin := time.Now()
		w.call(t, "version\r\n")
		times[i] = time.Since(begin)
	}
	slices.Sort(times)
	return times[n/2]
}

func TestProxyDelaysEachRoundTrip(t *testing.T) {
	p, _ := newProxiedFake(t)
	w := dialWire(t, "tcp", p.Addr())
	base := roundTrip(t, w, 200)
	for _, delay := range []time.Duration{200 * time.Microsecond, 800 * time.Microsecond, 5 * time.Millisecond} {
		p.SetDelay(delay)
		// A machine that is busy with other things makes all of it late, for a while. A runtime
		// timer would always be.
		precise := func(got time.Duration) bool { return got <= base+delay+700*time.Microsecond }
		got := soonIs(t, w, precise)
		t.Logf("%v more: %v", delay, got-base)
		if got < delay || !precise(got) {
			t.Errorf("a round trip of %v takes %v with a delay of %v", base, got, delay)
		}
	}
	p.SetDelay(-1)
	quick := func(got time.Duration) bool { return got <= base+100*time.Microsecond+base }
	if got := soonIs(t, w, quick); !quick(got) {
		t.Errorf("a round trip takes %v after the delay instead of %v", got, base)
	}
}

// soonIs measures round trips until they are as they should be, for as long as patience lasts.
func soonIs(t *testing.T, w *wire, right func(time.Duration) bool) (got time.Duration) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < patience; {
		if got = roundTrip(t, w, 100); right(got) {
			return got
		}
	}
	return got
}

func TestProxyDelayKeepsOrderAndThroughput(t *testing.T) {
	p, _ := newProxiedFake(t)
	w := dialWire(t, "tcp", p.Addr())
	value := strings.Repeat("v", 100_000)
	w.call(t, set("k", value))
	p.SetDelay(100 * time.Millisecond)
	const n = 200 // 20 MB
	begin := time.Now()
	go func() {
		for i := range n {
			if i == n/2 {
				p.SetDelay(60 * time.Millisecond) // what comes later must not overtake
			}
			_, _ = w.Write([]byte("get k\r\n"))
		}
	}()
	for range n {
		for _, want := range []string{"VALUE k 0 100000", value, "END"} {
			if got := w.line(t); got != want {
				t.Fatalf("got %.50q, want %.50q", got, want)
			}
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("20 MB have taken %v with a delay of 0.1 s", took)
	}
}

func TestProxyCutsAndGoesOn(t *testing.T) {
	p, _ := newProxiedFake(t)
	w := dialWire(t, "tcp", p.Addr())
	w.call(t, "version\r\n")
	check(t, p.Cut())
	if _, err := w.in.ReadByte(); err == nil {
		t.Error("the connection is still there")
	}
	dialWire(t, "tcp", p.Addr()).call(t, "version\r\n")
	check(t, p.Kill())
	if err := p.Cut(); !errors.Is(err, testutil.ErrNotRunning) {
		t.Errorf("Cut after Kill: %v", err)
	}
}

func TestProxyHoldsBackRepliesToo(t *testing.T) {
	p, f := newProxiedFake(t)
	w := dialWire(t, "tcp", p.Addr())
	w.call(t, "version\r\n")
	arrived, hung := make(chan struct{}), make(chan struct{})
	f.SetFault(func(testutil.Command) testutil.Fault {
		close(arrived)
		<-hung
		return testutil.Fault{}
	})
	w.send(t, "version\r\n")
	<-arrived
	before := f.Stats().BytesOut
	check(t, p.Hang())
	close(hung)
	for begin := time.Now(); f.Stats().BytesOut == before; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("the request is not answered")
		}
	}
	if !w.isSilent(t, 60*time.Millisecond) {
		t.Error("a reply has passed")
	}
	check(t, p.Release())
	w.line(t)
}

func TestProxyStallsOldConnectionsOnly(t *testing.T) {
	p, _ := newProxiedFake(t)
	old := dialWire(t, "tcp", p.Addr())
	old.call(t, "version\r\n")
	check(t, p.Stall())
	old.send(t, "version\r\n")
	fresh := dialWire(t, "tcp", p.Addr())
	fresh.call(t, "version\r\n")
	if !old.isSilent(t, 20*time.Millisecond) {
		t.Error("a reply has passed on the connection that was stalled")
	}
}

func TestProxyPassesOnTheEnd(t *testing.T) {
	p, f := newProxiedFake(t)
	w := dialWire(t, "tcp", p.Addr())
	w.send(t, "version\r\n")
	check(t, w.Conn.(*net.TCPConn).CloseWrite())
	if text, err := io.ReadAll(w.in); err != nil || !strings.HasPrefix(string(text), "VERSION") {
		t.Errorf("after half a close: %q, %v", text, err)
	}
	w = dialWire(t, "tcp", p.Addr())
	w.send(t, "version\r\nquit\r\n")
	if text, err := io.ReadAll(w.in); err != nil || !strings.HasPrefix(string(text), "VERSION") {
		t.Errorf("after quit: %q, %v", text, err)
	}
	check(t, f.Kill())
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil { // else the reset has come before the end of the dial
		_, err = io.ReadAll(newWire(t, conn).in)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("with a dead target: %v", err)
	}
}

func TestProxyClosesAtOnceDespiteADelay(t *testing.T) {
	p, _ := newProxiedFake(t)
	w := dialWire(t, "tcp", p.Addr())
	w.call(t, "version\r\n")
	p.SetDelay(time.Hour)
	w.send(t, "version\r\n")
	if !w.isSilent(t, 20*time.Millisecond) {
		t.Error("the delay has no effect")
	}
	begin := time.Now()
	check(t, p.Close())
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Close has taken %v", took)
	}
}
