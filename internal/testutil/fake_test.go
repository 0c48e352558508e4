package testutil_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

func newMemoryFake(t *testing.T, o testutil.FakeOptions) (*testutil.Fake, *wire) {
	t.Helper()
	o.InMemory = true
	f := testutil.StartFake(t, o)
	w := dialFake(t, f)
	check(t, w.SetDeadline(time.Time{}))
	return f, w
}

func TestItemsExpireOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := newMemoryFake(t, testutil.FakeOptions{})
		for _, base := range []int64{0, time.Now().Unix() + 10} {
			expiry := base + 10 // from now, or as a Unix time ten seconds after the first round
			w.call(t, fmt.Sprintf("set k 0 %d 1\r\nv\r\n", expiry))
			time.Sleep(10*time.Second - time.Nanosecond)
			if w.value(t, "k") != "v" {
				t.Errorf("expiry %d: gone too early", expiry)
			}
			time.Sleep(time.Nanosecond)
			if w.value(t, "k") != "" {
				t.Errorf("expiry %d: still there", expiry)
			}
		}
		w.call(t, set("k", "v"))
		w.call(t, "touch k 5\r\n")
		w.call(t, set("other", "v"))
		w.call(t, "flush_all 3\r\n")
		time.Sleep(3*time.Second - time.Nanosecond)
		if w.value(t, "k") != "v" || w.value(t, "other") != "v" {
			t.Error("a delayed flush_all has worked at once")
		}
		time.Sleep(time.Nanosecond)
		w.call(t, set("late", "v"))
		if w.value(t, "k")+w.value(t, "other") != "" || w.value(t, "late") != "v" {
			t.Error("a delayed flush_all must take what was stored before its time, and only that")
		}
		check(t, f.Close())
	})
}

func TestMemoryIsBoundedAndTheLeastRecentlyUsedGo(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{MaxBytes: 100_000})
	for i := range 1000 {
		w.call(t, set(fmt.Sprint("k", i), strings.Repeat("v", 1000)))
		if w.value(t, "k0") == "" {
			t.Fatalf("k0, read after every set, is gone after %d sets", i)
		}
	}
	if w.value(t, "k1") != "" || w.value(t, "k999") == "" {
		t.Error("the wrong items have been evicted")
	}
	if stats := f.Stats(); stats.Bytes > 100_000 || stats.Bytes < 90_000 || stats.Items > 100 {
		t.Errorf("it holds %d items of %d bytes", stats.Items, stats.Bytes)
	}
}

func TestStatsCount(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{Version: "9.9"})
	w.call(t, set("a", "v"))
	w.call(t, "delete a\r\n")
	w.call(t, "delete b\r\n")
	w.call(t, "get a\r\n")
	other := dialFake(t, f)
	other.send(t, "quit\r\n")
	if _, err := other.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after quit: %v", err)
	}
	if got := w.call(t, "version\r\n"); got != "VERSION 9.9" {
		t.Error(got)
	}
	check(t, w.Close())
	stats := f.Stats()
	for begin := time.Now(); stats.Open > 0 && time.Since(begin) < patience; stats = f.Stats() {
		time.Sleep(time.Millisecond)
	}
	if stats.Accepted != 2 || stats.Open != 0 {
		t.Errorf("accepted %d, open %d, want 2 and 0", stats.Accepted, stats.Open)
	}
	if stats.Commands["delete"] != 2 || stats.Commands["get"] != 1 || stats.Commands["quit"] != 1 {
		t.Errorf("commands: %v", stats.Commands)
	}
	in := int64(len(set("a", "v") + "delete a\r\ndelete b\r\nget a\r\nquit\r\nversion\r\n"))
	out := int64(len("STORED\r\nDELETED\r\nNOT_FOUND\r\nEND\r\nVERSION 9.9\r\n"))
	if stats.BytesIn != in || stats.BytesOut != out {
		t.Errorf("%d bytes in, %d out, want %d and %d", stats.BytesIn, stats.BytesOut, in, out)
	}
	if got := f.Deleted(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("deleted: %v", got)
	}
}

func TestStatsCommandHasAnEnd(t *testing.T) {
	_, w := newMemoryFake(t, testutil.FakeOptions{})
	w.send(t, "stats\r\n")
	found := map[string]string{}
	for line := w.line(t); line != "END"; line = w.line(t) {
		var name, value string
		if _, err := fmt.Sscanf(line, "STAT %s %s", &name, &value); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		found[name] = value
	}
	if found["pid"] != fmt.Sprint(os.Getpid()) || found["curr_connections"] != "1" || found["uptime"] == "" {
		t.Errorf("stats: %v", found)
	}
}

func TestMemoryConnectionsWorkInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := newMemoryFake(t, testutil.FakeOptions{})
		check(t, f.Hang())
		w.send(t, "version\r\n")
		begin := time.Now()
		if !w.isSilent(t, time.Hour) {
			t.Error("a hung fake answers")
		}
		if passed := time.Since(begin); passed != time.Hour {
			t.Errorf("an hour has taken %v", passed)
		}
		check(t, f.Release())
		if got := w.line(t); !strings.HasPrefix(got, "VERSION") {
			t.Error(got)
		}
		check(t, f.Kill())
		_, err := f.Dial(t.Context(), "tcp", f.Addr())
		if opErr := (*net.OpError)(nil); !errors.As(err, &opErr) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialing a killed fake: %v", err)
		}
	})
}

func TestMemoryConnectionsFailLikeSockets(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{})
	if w.RemoteAddr().String() != f.Addr() {
		t.Errorf("the peer is %v", w.RemoteAddr())
	}
	check(t, f.Kill())
	if _, err := w.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("reading from a killed fake: %v", err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("writing to a killed fake: %v", err)
	}
	check(t, w.Close())
	if _, err := w.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing to a closed connection: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Dial(ctx, "tcp", f.Addr()); !errors.Is(err, context.Canceled) {
		t.Errorf("dialing with an ended context: %v", err)
	}
}

func TestMemoryConnectionsTakeDataWhileNobodyReads(t *testing.T) {
	_, w := newMemoryFake(t, testutil.FakeOptions{})
	const n = 5000
	w.send(t, strings.Repeat("version\r\n", n)) // no reply has been read yet
	for range n {
		w.line(t)
	}
}

func TestCommandsMayComeInPieces(t *testing.T) {
	_, w := newMemoryFake(t, testutil.FakeOptions{})
	// The reply to the first command must not wait for the rest of the second.
	w.send(t, "version\r\nset k 0 0")
	w.line(t)
	w.send(t, " 5\r\nab")
	w.send(t, "cde\r")
	if got := w.call(t, "\n"); got != "STORED" {
		t.Error(got)
	}
	if got := w.value(t, "k"); got != "abcde" {
		t.Error(got)
	}
}

func TestALineWithoutEndClosesTheConnection(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{})
	go func() { _, _ = w.Write([]byte(strings.Repeat("x", 1<<20))) }()
	if _, err := io.ReadAll(w.in); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	keys := strings.Repeat("some-key ", 20_000)
	if got := dialFake(t, f).call(t, "get "+keys+"\r\n"); got != "END" {
		t.Errorf("a get of many keys: %q", got)
	}
}

func TestCloseEndsConnectionsNobodyReads(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{})
	w.call(t, set("k", strings.Repeat("v", 500_000)))
	w.send(t, strings.Repeat("get k\r\n", 10))
	check(t, f.Close()) // goleak tells if anything is left
}

func FuzzFakeNeverFails(f *testing.F) {
	for _, text := range scripts() {
		if len(text) < 10_000 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		fake, err := testutil.NewFake(testutil.FakeOptions{InMemory: true, MaxItemSize: 1000, MaxBytes: 10_000})
		check(t, err)
		conn, err := fake.Dial(t.Context(), "tcp", "")
		check(t, err)
		go func() {
			_, _ = conn.Write(append(input, "\r\nquit\r\n"...))
			time.Sleep(time.Millisecond)
			_ = conn.Close()
		}()
		_, _ = io.Copy(io.Discard, conn)
		if stats := fake.Stats(); stats.Bytes > 10_000 {
			t.Errorf("it holds %d bytes", stats.Bytes)
		}
		check(t, fake.Close())
	})
}
