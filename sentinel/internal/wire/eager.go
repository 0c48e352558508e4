package wire

import (
	"net"
	"runtime"
	"time"
)

// A reader that parks costs its thread two trips through the scheduler, which is more than the tens
// of microseconds that the next reply from a near server takes. So the reader looks for it a few
// times first, and sends what the callers have queued that it has just woken. Both help only where
// a processor is free: on one that is shared a thread that does not sleep uses up its share, and is
// stopped with the replies in hand. That it was stopped shows in how long a few looks took.

const (
	// lookFor is how long the reader looks before it parks, and lookScore how many looks in vain it
	// takes, two for each that was not, until it looks only each lookSkip times.
	lookFor   = 80 * time.Microsecond
	lookScore = 8
	lookSkip  = 64
	// mostLooks bounds them where the clock stands still while anybody works, as in a test with
	// synctest.
	mostLooks = 1000
	// stoppedAfter is what a few looks, or giving way once, take only if the thread was stopped
	// meanwhile.
	stoppedAfter = 250 * time.Microsecond
	// leastPause and mostPause bound for how long the reader does neither after it was stopped:
	// twice as long each time.
	leastPause = 20 * time.Millisecond
	mostPause  = 2 * time.Second
	// shareCalls and shareBytes bound what the reader writes for: with more calls under way two at
	// work are faster than one, and decoding large replies would keep requests waiting.
	shareCalls = 64
	shareBytes = 64 << 10
)

// eagerness decides whether the reader is to look before it parks, and to write for others. It is
// pure: times are nanoseconds on any clock.
type eagerness struct {
	score int   // of looks that found something
	skips int   // since the last look, while the score is 0
	until int64 // it pauses
	pause time.Duration
}

// pauses reports whether the processor was found to be shared a moment ago.
func (e *eagerness) pauses(now int64) bool { return now < e.until }

// look reports whether to look before parking.
func (e *eagerness) look(now int64) bool {
	if e.pauses(now) {
		return false
	}
	if e.score > 0 {
		return true
	}
	if e.skips++; e.skips < lookSkip {
		return false
	}
	e.skips = 0
	return true
}

// looked takes in the end of a look.
func (e *eagerness) looked(began, now int64, found bool) {
	switch {
	case e.stopped(began, now):
	case found:
		e.score = min(e.score+1, lookScore)
	default:
		e.score = max(e.score-2, 0)
	}
}

// stopped takes in how long something took, and reports whether the thread was stopped meanwhile.
func (e *eagerness) stopped(began, now int64) bool {
	if time.Duration(now-began) < stoppedAfter {
		if e.pause > 0 && now > e.until+int64(e.pause) { // it has done without for as long as the last pause
			e.pause /= 2
			e.until = now
		}
		return false
	}
	e.pause = min(max(2*e.pause, leastPause), mostPause)
	e.until = now + int64(e.pause)
	return true
}

// lookAhead reads without waiting for the network, for a moment. It returns 0 if nothing has come,
// or if the next read will tell the error.
func (c *Conn) lookAhead(b []byte) (n int, err error) {
	began := c.sinceEpoch()
	now := began
	for range mostLooks {
		var again bool
		n, again, err = c.socket.tryRead(b)
		now = c.sinceEpoch()
		if n > 0 || !again || now-began >= int64(lookFor) {
			break
		}
		runtime.Gosched()
	}
	c.eager.looked(began, now, n > 0)
	return n, err
}

// sharesLocked reports whether the reader takes the role of the writer for the callers that it is
// about to wake: those of its batch.
func (c *Conn) sharesLocked(batch int) bool {
	return c.buffers && batch > 1 && batch <= shareCalls && !c.writing && c.inbox.scanned-c.inbox.from <= shareBytes &&
		!c.eager.pauses(c.options.Heard.Load())
}

// buffers reports whether a connection is known to take a small write while the other side does not
// read. On one that does not, such as a net.Pipe, a reader that wrote would wait for a server that
// waits for it.
func buffers(conn net.Conn) bool {
	for {
		switch inner := conn.(type) {
		case *net.TCPConn, *net.UnixConn:
			return true
		case interface{ NetConn() net.Conn }:
			conn = inner.NetConn()
		default:
			return false
		}
	}
}

// writeForOthers writes what callers have queued that the reader has woken. It has the role of the
// writer, and gives it up.
func (c *Conn) writeForOthers() {
	began := c.sinceEpoch()
	runtime.Gosched()
	c.eager.stopped(began, c.sinceEpoch())
	c.mu.Lock()
	if c.err != nil || c.written >= c.waiting.size {
		c.writing = false
		c.mu.Unlock()
		return
	}
	inline := c.unanswered+len(c.queued) <= inlineBytes
	c.mu.Unlock()
	if !inline || c.writeOnce() {
		c.options.Go(c.writeAll)
	}
}
