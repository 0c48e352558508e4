package testutil_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// TestRoughKeepsBytes: whatever it does to pieces, the bytes arrive in order and complete.
func TestRoughKeepsBytes(t *testing.T) {
	f := testutil.StartFake(t)
	r := testutil.StartRough(t, f.Addr(), testutil.RoughOptions{Life: time.Hour})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Addr())
	check(t, err)
	defer func() { _ = conn.Close() }()
	value := bytes.Repeat([]byte("0123456789"), 5000)
	in := bufio.NewReader(conn)
	for i := range 10 {
		key := strconv.Itoa(i)
		_, err := conn.Write([]byte("set " + key + " 0 0 50000\r\n" + string(value) + "\r\nget " + key + "\r\n"))
		check(t, err)
		want := "STORED\r\nVALUE " + key + " 0 50000\r\n" + string(value) + "\r\nEND\r\n"
		got := make([]byte, len(want))
		_, err = io.ReadFull(in, got)
		check(t, err)
		if string(got) != want {
			t.Fatalf("round %d: got %.80q, want %.80q", i, got, want)
		}
	}
}

// awaitEnds waits until all connections have ended, and the bytes on their way have arrived.
func awaitEnds(t *testing.T, r *testutil.Rough) {
	t.Helper()
	for begin := time.Now(); r.Open() > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("there are still connections")
		}
	}
}

// TestRoughLosesWhatWasReset: data sent into the silence arrives late, unless the client reset the
// connection.
func TestRoughLosesWhatWasReset(t *testing.T) {
	for _, reset := range []bool{false, true} {
		f := testutil.StartFake(t)
		r := testutil.StartRough(t, f.Addr(), testutil.RoughOptions{Life: 1, Late: 20 * time.Millisecond})
		for range 40 { // half of the connections end in silence
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Addr())
			if err != nil {
				continue // its life ended before it began
			}
			time.Sleep(20 * time.Millisecond) // its life ends
			_, _ = conn.Write([]byte("set k 0 0 140\r\n" + strings.Repeat("more than a goodbye!", 7) + "\r\n"))
			if reset {
				check(t, conn.(*net.TCPConn).SetLinger(0))
			}
			_ = conn.Close()
		}
		late := func() bool { return f.Stats().Commands["set"] > 0 && r.Revived() > 0 }
		for begin := time.Now(); !reset && !late() && time.Since(begin) < patience; time.Sleep(time.Millisecond) {
		}
		if reset {
			awaitEnds(t, r)
		}
		if arrived := f.Stats().Commands["set"] > 0; arrived == reset {
			t.Errorf("reset %v: data arrived: %v", reset, arrived)
		}
		if revived := r.Revived() > 0; revived == reset {
			t.Errorf("reset %v: data that was given up arrived on %d connections", reset, r.Revived())
		}
	}
}

// TestRoughHoldsUp: a lost packet delays the bytes sent, and a reset meanwhile loses them.
func TestRoughHoldsUp(t *testing.T) {
	for _, reset := range []bool{false, true} {
		f := testutil.StartFake(t)
		stall := 30 * time.Millisecond
		if reset {
			stall = time.Second // 25 of them: the reset comes first, however busy the machine is
		}
		r := testutil.StartRough(t, f.Addr(), testutil.RoughOptions{Life: time.Hour, MaxPiece: 1, MaxDelay: 1, Stall: stall})
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Addr())
		check(t, err)
		began := time.Now()
		_, err = conn.Write(bytes.Repeat([]byte("touch absent 1\r\n"), 100)) // in 1600 pieces
		check(t, err)
		if reset {
			time.Sleep(time.Millisecond)
			check(t, conn.(*net.TCPConn).SetLinger(0))
			check(t, conn.Close())
			awaitEnds(t, r)
			if n := f.Stats().Commands["touch"]; n > 90 {
				t.Errorf("%d commands arrived of 100 on a connection that was reset at once", n)
			}
			continue
		}
		_, err = io.ReadFull(conn, make([]byte, 100*len("NOT_FOUND\r\n")))
		check(t, err)
		if took := time.Since(began); took < 200*time.Millisecond {
			t.Errorf("1600 pieces took %v, want about 25 of them lost", took)
		}
		_ = conn.Close()
	}
}
