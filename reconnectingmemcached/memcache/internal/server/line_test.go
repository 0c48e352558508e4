package server_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

func newServer(t testing.TB, address string) *server.Server {
	t.Helper()
	s := server.New(server.Config{Name: "memcached", Timeout: 500 * time.Millisecond, MaxIdleConns: 1, ResolveInterval: -1}, address)
	t.Cleanup(func() { server.End(s) })
	return s
}

// TestReplyBeforeRequest tells of the same surplus on the shared connection: it was there before
// the next Set was sent, and the reader, which looked for the Set only then, took it for its
// answer.
func TestReplyBeforeRequest(t *testing.T) {
	s := newServer(t, "127.0.0.1:1")
	if err := s.ReplyBeforeRequest("STORED\r\nSTORED\r\n"); !errors.Is(err, faults.ErrBadReply) {
		t.Errorf("a reply that was there before its request: %v, want ErrBadReply", err)
	}
}

// TestGivenUpBeforeItWasWritten tells of the Set that ran out of time while its connection was
// still being made: the error said that it had certainly not been sent, and when a process that was
// starved let the connection live on, it was.
func TestGivenUpBeforeItWasWritten(t *testing.T) {
	for _, endStuck := range []bool{false, true} {
		s := newServer(t, "127.0.0.1:1")
		sent, written, err := s.GivenUpUnwritten(endStuck)
		if err != nil {
			t.Fatal(err)
		}
		if sent != (written != "") || endStuck && sent {
			t.Errorf("connection to be ended %v: sent %v, and %q was written", endStuck, sent, written)
		}
	}
}

// TestQueueIsBounded: the queue of a server that does not read takes 8 MiB at most, or one request.
func TestQueueIsBounded(t *testing.T) {
	const most = 8 << 20
	for _, size := range []int{10 << 10, most + 1} {
		s := newServer(t, "127.0.0.1:1")
		queued, room, err := s.FillQueue(size)
		if !errors.Is(err, faults.ErrBusy) || queued > max(most, size+100) || queued < most/2 || !room {
			t.Errorf("Sets of %d bytes: %d are queued, room once they are written: %v, %v", size, queued, room, err)
		}
	}
}

// TestWhatEndsAConnection tells of the proxy that did not know a command of one of many callers. It
// reset the connection, and left what came before unanswered: the end was not put down to the
// command, the fresh connections on which that was tried again counted against the server, and all
// were refused for a moment.
func TestWhatEndsAConnection(t *testing.T) {
	s := newServer(t, "127.0.0.1:1")
	const set, get, gat, incr = protocol.OpSet, protocol.OpGet, protocol.OpGetAndTouch, protocol.OpIncrement
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for _, tt := range []struct {
		end     error
		written []protocol.Op
		want    string
	}{
		{io.EOF, []protocol.Op{gat}, "gat"},
		{reset, []protocol.Op{gat, set}, "gat"},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, []protocol.Op{set, get, gat, set}, "gat"},
		{reset, []protocol.Op{incr, get, gat, incr}, "gat incr"},
		{reset, []protocol.Op{set, get}, ""},
		{reset, nil, ""},
		{faults.ErrTimeout, []protocol.Op{gat}, ""},
	} {
		if got := strings.Join(s.EndedAt(tt.end, tt.written...), " "); got != tt.want {
			t.Errorf("%v with %v written is put down to %q, want %q", tt.end, tt.written, got, tt.want)
		}
	}
}

// TestAnsweredAndReset: what a server has answered before it reset the connection counts, whether
// the next write or the next read finds that out.
func TestAnsweredAndReset(t *testing.T) {
	s := newServer(t, "127.0.0.1:1")
	first, end := s.AnsweredAndReset()
	if first != nil || !errors.Is(end, syscall.ECONNRESET) {
		t.Errorf("a Set that was answered: %v; the connection ended with %v, want what the reader saw", first, end)
	}
}

// TestAloneAfterAReset tells of a twemproxy that ends a connection because of the Gets that share a
// line. The writer saw that first; until the reader did, others shared lines on the fresh
// connection, which ended as well: a Get that was tried again there was a miss.
func TestAloneAfterAReset(t *testing.T) {
	if !newServer(t, "127.0.0.1:1").AloneAfterAReset() {
		t.Error("Gets share lines on the next connection, too")
	}
}

// TestMissedWhileReplayEnds tells of the write that failed in the very moment in which the
// deletions of others ended: nobody saw to its own, and its key was a miss for ever.
func TestMissedWhileReplayEnds(t *testing.T) {
	fake := testutil.StartFake(t)
	s := newServer(t, fake.Addr())
	request := &protocol.Request{Op: protocol.OpDelete, Key: "k"}
	s.WhileReplayEnds(func() { s.LogMissed(request, server.Outcome{}) })
	for began := time.Now(); s.Missed.Pending(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the key is not deleted")
		}
	}
}

// TestWhenToLookNext tells of the Get that had been tried on a connection before, and had to wait
// behind younger calls on the next: when it ran out of time, it kept the watch at work without a
// pause until those did, too.
func TestWhenToLookNext(t *testing.T) {
	for _, c := range []struct {
		requests []server.Waiting
		want     int64
	}{
		{[]server.Waiting{{Start: 7}, {Start: 3}}, 3},
		{[]server.Waiting{{Start: 7}, {Start: 3, Settled: true}}, 7},
		{[]server.Waiting{{Start: 7, Settled: true}, {Start: 8}}, 7}, // the connection ends then
		{[]server.Waiting{{Start: 7, Settled: true}, {Start: 3, Settled: true}, {Start: 5}}, 5},
	} {
		if got, ok := server.Oldest(c.requests...); got != c.want || !ok {
			t.Errorf("Oldest(%+v) = %d, %v, want %d", c.requests, got, ok, c.want)
		}
	}
	if _, ok := server.Oldest(); ok {
		t.Error("Oldest of none is one")
	}
}
