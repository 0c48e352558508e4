package testutil

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 64 << 10
	// linkBuffer is how many bytes may be under way in one direction before the sender has to wait;
	// large enough not to limit the throughput at any delay worth testing.
	linkBuffer = 64 << 20
)

// chunk is data under way, or the end of it.
type chunk struct {
	data []byte
	err  error // the end of the stream: io.EOF if it was orderly
	due  time.Time
}

// link carries one direction of a proxied connection: a queue of chunks, each with the time when it
// is to arrive.
type link struct {
	conn     *proxied
	from, to net.Conn
	done     <-chan struct{} // closed with the connection
	alarm    alarm

	mu     sync.Mutex
	moved  *sync.Cond // on mu
	queue  []chunk    // guarded by mu
	bytes  int        // guarded by mu; in queue
	closed bool       // guarded by mu
}

func newLink(c *proxied, from, to net.Conn) *link {
	l := &link{conn: c, from: from, to: to, done: c.ctx.Done()}
	l.moved = sync.NewCond(&l.mu)
	return l
}

// receive reads until the stream ends and queues what it reads. While the proxy hangs it leaves the
// rest to the kernel's buffers, as a stopped process does.
func (l *link) receive() {
	buf := make([]byte, chunkSize)
	for {
		n, err := l.from.Read(buf)
		due := time.Now().Add(l.conn.way.proxy.oneWay())
		if !l.pass() {
			return
		}
		if n > 0 && !l.push(chunk{data: append([]byte(nil), buf[:n]...), due: due}) {
			return
		}
		if err != nil {
			l.push(chunk{err: err, due: due})
			return
		}
	}
}

// pass waits while the proxy, or the connection, is held up. It returns false when the connection
// is closed.
func (l *link) pass() bool { return l.conn.way.gate.Pass(l.done) && l.conn.gate.Pass(l.done) }

// push queues c. It returns false when the link is closed.
func (l *link) push(c chunk) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.bytes > linkBuffer && !l.closed {
		l.moved.Wait()
	}
	l.queue = append(l.queue, c)
	l.bytes += len(c.data)
	l.moved.Broadcast()
	return !l.closed
}

// head waits for something to be queued and returns the first of it. It returns false when the link
// is closed.
func (l *link) head() (chunk, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.moved.Wait()
	}
	if l.closed {
		return chunk{}, false
	}
	return l.queue[0], true
}

// takeDue removes the due bytes from the queue, about chunkSize of it at most. The error is that of
// the end, if due.
func (l *link) takeDue(buf []byte) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for len(l.queue) > 0 && len(buf) < chunkSize && !l.queue[0].due.After(now) {
		first := l.queue[0]
		l.queue = l.queue[1:]
		l.bytes -= len(first.data)
		buf = append(buf, first.data...)
		if first.err != nil {
			return buf, first.err
		}
	}
	l.moved.Broadcast()
	return buf, nil
}

// send writes queued bytes when they are due. It returns nil after an orderly end, whose half it
// has closed.
func (l *link) send() error {
	var buf []byte
	for {
		first, ok := l.head()
		if !ok || !l.alarm.wait(first.due, l.done) || !l.pass() {
			return net.ErrClosed
		}
		var end error
		buf, end = l.takeDue(buf[:0])
		if _, err := l.to.Write(buf); err != nil {
			return err
		}
		if errors.Is(end, io.EOF) {
			return l.to.(*net.TCPConn).CloseWrite()
		}
		if end != nil {
			return end
		}
	}
}

// close wakes both users. The connections are closed by their owner.
func (l *link) close() {
	l.alarm.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.moved.Broadcast()
}
