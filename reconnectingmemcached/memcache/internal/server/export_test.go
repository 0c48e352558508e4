package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// New returns a server of its own.
func New(o Config, address string) *Server {
	return NewEnv(o).NewServer(addresses.Addr{NetworkName: "tcp", Text: address}, address, new(MissedLog))
}

// End ends it.
func End(s *Server) {
	s.Env.End()
	s.Env.cancel()
	s.Close()
	_ = s.Breaker.Close()
	s.Env.running.Wait()
}

// Guard does what every call pays beside the wire and the choice of its server.
func (s *Server) Guard(key string) error {
	r := protocol.Request{Op: protocol.OpGet, Key: key}
	permit, err := s.Admit(&r)
	if err != nil {
		return err
	}
	f := Flight{call: s.Env.calls.take(), permit: permit, start: s.Env.Now()}
	s.watch.arm()
	s.book(&f, &r, &Outcome{Replied: true, ended: f.start}) // the reader's clock serves all replies that came together
	return nil
}

// ProbeDelay is the pause before a probe.
func ProbeDelay(cause error, attempt int) time.Duration { return probeDelay(cause, attempt) }

// DeleteAll deletes n keys on a connection as a replay does, and closes that.
func DeleteAll(conn net.Conn, n int) error {
	c := &session{conn: conn, in: bufio.NewReader(conn), stop: func() bool { return true }, patience: 500 * time.Millisecond, ending: "gets " + protocol.CanaryKey + "\r\n"}
	defer c.hangUp()
	keys := make(map[string]MissedKey)
	for i := range n {
		keys["k"+strconv.Itoa(i)] = MissedKey{}
	}
	return c.deleteAll(keys, func(map[string]MissedKey) {})
}

// ReplyBeforeRequest steps a shared connection through what goroutines do too fast for a test: two
// replies arrive at once, the first answers a Set, and a second Set is sent before the reader looks
// at the rest. It returns what becomes of the reader.
func (s *Server) ReplyBeforeRequest(replies string) error {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	l := &line{server: s, kept: &s.current, cancel: func() {}, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	conn := &meter{Conn: &scripted{near, replies}, server: s, line: l}
	l.connected(conn)
	r := &reader{line: l, conn: conn, in: bufio.NewReader(conn)}
	for range 2 {
		w := &protocol.Request{Op: protocol.OpSet, Key: "k", Item: &gomemcache.Item{Key: "k"}}
		waiting := s.Env.calls.take()
		if err := l.enqueue(w, waiting, waiting.begin(), s.Env.Now()); err != nil {
			return err
		}
		if err := r.step(); err != nil {
			return err
		}
		<-waiting.done
	}
	return nil
}

// GivenUpUnwritten steps a Set through its time limit while its connection is still being made, and
// then connects that. It returns whether the Set is said to have been sent, and the bytes written
// in the end.
func (s *Server) GivenUpUnwritten(endStuck bool) (sent bool, written string, err error) {
	l := &line{server: s, kept: &s.current, cancel: func() {}, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	waiting := s.Env.calls.take()
	w := &protocol.Request{Op: protocol.OpSet, Key: "k", Item: &gomemcache.Item{Key: "k", Value: []byte("v")}}
	if err := l.enqueue(w, waiting, waiting.begin(), s.Env.Now()); err != nil {
		return false, "", err
	}
	l.overdue(s.Env.Now(), endStuck)
	l.connected(nil)
	_, batch := l.takeQueued()
	return waiting.sent, string(batch), nil
}

// FillQueue sends Sets of a size while the connection is being made, until one has to wait. It
// returns how many bytes are queued then, and whether there is room once they are written.
func (s *Server) FillQueue(size int) (queued int, room bool, err error) {
	l := &line{server: s, kept: &s.current, cancel: func() {}, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	w := &protocol.Request{Op: protocol.OpSet, Key: "k", Item: &gomemcache.Item{Key: "k", Value: make([]byte, size)}}
	for err == nil && queued < 2*maxQueuedBytes {
		waiting := s.Env.calls.take()
		err = l.enqueue(w, waiting, waiting.begin(), s.Env.Now())
		queued = len(l.queued)
	}
	l.connected(nil)
	l.takeQueued()
	var full fullLine
	if errors.As(err, &full) {
		select {
		case <-full.room:
			room = true
		default:
		}
	}
	return queued, room, err
}

// EndedAt are the commands that the end of a connection may be put down to, with these requests
// written.
func (s *Server) EndedAt(end error, written ...protocol.Op) (words []string) {
	l := &line{server: s}
	for _, o := range written {
		l.waiting.push(entry{op: o})
	}
	l.written = len(written)
	l.waiting.push(entry{op: protocol.OpIncrement}) // is queued yet
	ops := l.endedAt(end)
	for o := range protocol.OpCount {
		if ops.has(o) {
			words = append(words, o.Word())
		}
	}
	return words
}

// AnsweredAndReset has a Set answered on a connection that is reset before the next Set is written.
// It returns what became of the first, and how the connection ended.
func (s *Server) AnsweredAndReset() (first, end error) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	l := &line{server: s, kept: &s.current, cancel: func() {}, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	reset := &resetConn{scripted: scripted{near, "STORED\r\n"}}
	conn := &meter{Conn: reset, server: s, line: l}
	l.connected(conn)
	var sets [2]*call
	for i := range sets {
		w := &protocol.Request{Op: protocol.OpSet, Key: "k", Item: &gomemcache.Item{Key: "k"}}
		sets[i] = s.Env.calls.take()
		if err := l.enqueue(w, sets[i], sets[i].begin(), s.Env.Now()); err != nil {
			return err, nil
		}
		reset.isReset = true
	}
	end = l.read(conn)
	l.end(end)
	<-sets[0].done
	<-sets[1].done
	return sets[0].err, end
}

// AloneAfterAReset reports whether Gets are sent alone from the moment in which a write fails on a
// connection on which some share a line, before the reader has seen its end.
func (s *Server) AloneAfterAReset() bool {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	l := &line{server: s, kept: &s.current, cancel: func() {}, gone: make(chan struct{})}
	l.worked.Store(true)
	l.waiting.push(entry{op: protocol.OpGet})
	l.waiting.push(entry{op: protocol.OpGet, joined: true})
	l.written = 2
	l.unwritable(&meter{Conn: near, server: s, line: l}, &net.OpError{Op: "write", Err: syscall.EPIPE})
	return s.asksAlone(s.Env.Now())
}

// resetConn is reset after the first write; its replies are there yet.
type resetConn struct {
	scripted
	isReset bool
}

func (c *resetConn) Write(b []byte) (int, error) {
	if c.isReset {
		return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
	}
	return len(b), nil
}

func (c *resetConn) Read(b []byte) (int, error) {
	if n, _ := c.scripted.Read(b); n > 0 {
		return n, nil
	}
	return 0, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
}

// WhileReplayEnds makes a call after the last look of a background replay, and before its end.
func (s *Server) WhileReplayEnds(call func()) {
	s.replaying.Store(true)
	call()
	s.endReplay()
}

// scripted is a connection that has all its replies there at once.
type scripted struct {
	net.Conn
	replies string
}

func (c *scripted) Read(b []byte) (int, error) {
	n := copy(b, c.replies)
	c.replies = c.replies[n:]
	return n, nil
}

// Candidate is where a server that is down is probed next.
func Candidate(at netip.Addr, addrs []netip.Addr, down time.Duration, attempt int) netip.Addr {
	return candidate(at, addrs, down < homeGrace, attempt)
}

// Waiting is a request on a connection: when its call began, and whether its caller has left.
type Waiting struct {
	Start   int64
	Settled bool
}

// Oldest is the start by which the watch chooses when to look next, of requests in their order.
func Oldest(requests ...Waiting) (start int64, ok bool) {
	l := new(line)
	for _, r := range requests {
		c := new(calls).take()
		e := entry{call: c, generation: c.begin(), start: r.Start, given: r.Start}
		if r.Settled {
			c.settle(e.generation)
		}
		l.waiting.push(e)
	}
	return l.oldest()
}
