package server

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

const (
	// inlineBytes is how much may be on its way unanswered while callers still write by themselves:
	// a write of this size fits the socket's buffer, so that it cannot hold its caller beyond the
	// end of its context.
	inlineBytes = 16 << 10
	// maxJoined bounds the keys of one line of merged Gets and GetMultis, and so the answer that
	// one error line can spoil. A GetMulti of more is on a line of its own.
	maxJoined = 128
	// maxQueuedBytes bounds what waits to be written.
	maxQueuedBytes = 8 << 20
	// keepBuffer is the largest write buffer that an idle connection keeps.
	keepBuffer = 256 << 10
)

// line is the pipelined connection of one server, shared by all callers. Requests are written in
// the order in which they were queued, and answered in that order. A request that finds the line
// idle is written at once by its caller; what queues meanwhile goes out in one write, Gets and
// GetMultis that are next to each other merged into one "gets k1 … kn".
//
// It starts out dialling: requests queue until the connection is there.
type line struct {
	server   *Server
	kept     *atomic.Pointer[line] // where the server has it
	cancel   context.CancelFunc    // ends the dial
	kick     chan struct{}         // tells the writer goroutine that the writing is its turn; capacity 1
	gone     chan struct{}         // closed by end, once the breaker knows
	worked   atomic.Bool           // a reply has been read
	lastRead atomic.Int64          // when a byte last arrived, in nanoseconds of the client's clock
	since    int64                 // of the connection, in nanoseconds of the client's clock; set before it is read from
	handed   atomic.Uint64         // requests handed to the connection so far: no others can have been answered

	mu         sync.Mutex
	conn       *meter        // nil while dialling; guarded by mu
	err        error         // why it ended; guarded by mu
	retired    bool          // takes no more requests and ends with its last reply; guarded by mu
	halted     bool          // nothing more is written: it is about to be ended; guarded by mu
	placed     uint64        // requests ever queued; guarded by mu
	waiting    fifo          // requests without a reply, oldest first; guarded by mu
	written    int           // how many of waiting have been handed to the connection; guarded by mu
	inWrite    int           // how many of those are being written right now; guarded by mu
	unanswered int           // bytes of written; guarded by mu
	owedSince  int64         // since when the server owes an answer, or the dial its end; 0 nothing; guarded by mu
	queued     []byte        // requests to be written; guarded by mu
	spare      []byte        // the other write buffer; guarded by mu
	room       chan struct{} // closed when queued is taken; nil: no caller waits for that; guarded by mu
	joined     int           // keys of Gets on the unfinished last line of queued; guarded by mu
	writing    bool          // a caller or the writer goroutine is at it; guarded by mu
}

// enqueue queues r and, unless another goroutine is writing, writes. An error says that the line is
// gone or full and nothing of r was sent.
func (l *line) enqueue(r *protocol.Request, c *call, generation uint64, start int64) error {
	l.mu.Lock()
	if err := l.refusesLocked(r); err != nil {
		ended := l.err != nil
		l.mu.Unlock()
		if ended {
			<-l.gone // the breaker knows before this caller's next call
		}
		return err
	}
	l.queueLocked(r, c, generation, start)
	if l.writing || l.conn == nil {
		l.mu.Unlock()
		return nil
	}
	l.writing = true
	inline := l.unanswered+len(l.queued) <= inlineBytes
	crowded := l.waiting.size > 1
	l.mu.Unlock()
	if !inline {
		l.kick <- struct{}{}
		return nil
	}
	if crowded {
		runtime.Gosched() // callers that were woken together queue now and share this write
	}
	l.writeOnce()
	return nil
}

func (l *line) refusesLocked(r *protocol.Request) error {
	switch {
	case l.err != nil:
		return l.err
	case l.retired || l.halted:
		return faults.ErrRetired
	case len(l.queued) > 0 && len(l.queued)+r.Size() > maxQueuedBytes:
		if l.room == nil {
			l.room = make(chan struct{})
		}
		return fullLine{l.room}
	}
	return nil
}

// fullLine says that so much is queued that a request has to wait.
type fullLine struct {
	room <-chan struct{} // closed when it is worth another try
}

func (fullLine) Error() string { return faults.ErrBusy.Error() }
func (fullLine) Unwrap() error { return faults.ErrBusy }

// makeRoomLocked lets those try again that found the line full.
func (l *line) makeRoomLocked() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

func (l *line) queueLocked(r *protocol.Request, c *call, generation uint64, start int64) {
	before := len(l.queued)
	e := entry{call: c, generation: generation, key: r.Key, keys: r.Keys, start: start, given: max(start, c.given), op: r.Op, valueless: r.Valueless}
	switch {
	case (r.Op == protocol.OpGet || r.Op == protocol.OpGetMulti) && !r.Alone && !l.server.asksAlone(start):
		keys := max(len(r.Keys), 1)
		if e.joined = l.joined > 0 && l.joined+keys <= maxJoined; !e.joined {
			l.finishGetsLocked()
			l.queued = append(l.queued, l.server.Env.wordOf(r.Op)...)
		}
		l.queued = protocol.AppendKeys(l.queued, r)
		l.joined += keys
	default:
		l.finishGetsLocked()
		l.queued = protocol.AppendRequest(l.queued, l.server.Env.wordOf(r.Op), r)
	}
	e.size = len(l.queued) - before
	l.waiting.push(e)
	l.placed++
	c.place = place{l, l.placed}
}

// finishGetsLocked ends the line of merged Gets, if one is open.
func (l *line) finishGetsLocked() {
	if l.joined > 0 {
		l.queued = append(l.queued, "\r\n"...)
		l.joined = 0
	}
}

// writeOnce writes the queue. If more has queued meanwhile, the writer goroutine goes on with
// it: a caller must not write for others for ever. The caller holds l.writing.
func (l *line) writeOnce() {
	conn, batch := l.takeQueued()
	if batch != nil {
		if _, err := conn.Write(batch); err != nil {
			l.unwritable(conn, err)
			return
		}
	}
	if l.doneWriting(batch) {
		return
	}
	l.kick <- struct{}{}
}

// unwritable ends the line after a write that failed. A server that has reset the connection may
// have answered before: the reader takes that, and sees what the end is the answer to.
func (l *line) unwritable(conn *meter, err error) {
	l.mu.Lock()
	l.separateLocked() // before others go to a fresh connection: there the same would happen again
	l.halted = true
	l.mu.Unlock()
	if !observe.IsReset(err) || conn.SetReadDeadline(time.Now().Add(l.server.Env.config.Timeout)) != nil {
		l.end(l.lost(err))
	}
}

// isEnd reports whether the server has ended a connection.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || observe.IsReset(err) }

// takeQueued returns nil if there is nothing to write.
func (l *line) takeQueued() (*meter, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.halted || len(l.queued) == 0 {
		return nil, nil
	}
	l.finishGetsLocked()
	batch := l.queued
	l.queued, l.spare = l.spare[:0], nil
	l.makeRoomLocked()
	l.inWrite = l.waiting.size - l.written
	l.handed.Add(uint64(l.inWrite))
	l.written = l.waiting.size
	l.unanswered += len(batch)
	return l.conn, batch
}

// doneWriting gives the buffer back and ends the writing, unless there is more to write.
func (l *line) doneWriting(batch []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cap(batch) <= keepBuffer && batch != nil {
		l.spare = batch
	}
	l.inWrite = 0
	if l.owedSince == 0 && l.written > 0 {
		l.owedSince = l.server.Env.Now()
	}
	l.writing = l.err == nil && !l.halted && len(l.queued) > 0
	return !l.writing
}

// write is the writer goroutine: it takes over when callers cannot or should not write.
func (l *line) write() {
	for {
		select {
		case <-l.gone:
			return
		case <-l.kick:
		}
		for more := true; more; {
			runtime.Gosched() // as in enqueue
			conn, batch := l.takeQueued()
			if batch != nil {
				if _, err := conn.Write(batch); err != nil {
					l.unwritable(conn, err)
					return
				}
			}
			more = !l.doneWriting(batch)
		}
	}
}

// isExtra tells the lines that their calls can do without.
func (l *line) isExtra() bool { return l.kept != &l.server.current }

// run dials, then reads replies until the connection ends. It is the line's other goroutine.
func (l *line) run(ctx context.Context) {
	defer l.cancel()
	l.dialling()
	dialled, err := l.open(ctx)
	if err != nil {
		l.end(err)
		return
	}
	conn := &meter{Conn: dialled, server: l.server, line: l}
	if !l.connected(conn) {
		sockets.Discard(dialled) // ended while dialling
		return
	}
	if !l.server.home.takes(dialled) {
		l.end(faults.Blameless(faults.ErrRetired)) // the server has moved meanwhile
		return
	}
	l.server.Env.running.Go(l.write)
	l.end(l.read(conn))
}

// open makes the connection. Calls that can do without it take their turn on the one that all share
// if there is none to be had.
func (l *line) open(ctx context.Context) (conn net.Conn, err error) {
	s := l.server
	switch {
	case !l.isExtra():
		return s.open(ctx, s.dialShared)
	case s.untried.has(l) && s.answers():
		conn, err = s.openSpare(ctx)
		l.worked.Store(err == nil)
	default:
		conn, err = s.open(ctx, s.dialPrivate)
	}
	if err != nil && (s.answers() || errors.Is(err, errElsewhere)) {
		err = faults.Blameless(faults.ErrRetired)
	}
	return conn, err
}

func (l *line) dialling() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owedSince = l.server.Env.Now()
}

// owed tells since when the line waits for the server, not for this process. The connection is nil
// while dialling.
func (l *line) owed() (since int64, conn *meter, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owedSince, l.conn, l.owedSince != 0 && l.err == nil
}

// connected lets the queue go out.
func (l *line) connected(conn *meter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	l.conn, l.owedSince = conn, 0
	l.since = l.server.Env.Now()
	if l.server.untried.has(l) {
		l.forgetLeftLocked()
	}
	if len(l.queued) > 0 {
		l.writing = true
		l.kick <- struct{}{}
	}
	return true
}

func (l *line) lost(err error) error {
	ops := l.endedAt(err)
	l.server.doubtCommands(ops)
	if l.worked.Load() {
		l.server.askSoon(err)
	}
	if ops != 0 || l.worked.Load() || l.isUnused() {
		return UsedFault(err)
	}
	return l.server.freshFault(err)
}

// isUnused reports whether nothing was sent, and nothing is to be: its callers have left before it
// was there.
func (l *line) isUnused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handed.Load() == 0 && l.waiting.size == 0
}

// end closes the connection, settles every call on it with err, and charges err to the breaker
// once. Only the first err counts.
func (l *line) end(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	l.separateLocked()
	waiting, written, conn := l.waiting, l.written, l.conn
	l.waiting, l.written, l.queued, l.spare = fifo{}, 0, nil, nil
	l.makeRoomLocked()
	l.mu.Unlock()

	l.cancel()
	l.server.forget(l, err)
	close(l.gone)
	if conn != nil {
		sockets.Discard(conn.Conn)
	}
	unread := errors.Is(err, faults.ErrTooManyConns) // it was turned away before that
	for i := range waiting.size {
		waiting.nth(i).fail(err, i < written && !unread)
	}
}

// separateLocked has Gets sent alone for a moment, if one that shares its line may have ended this
// connection.
func (l *line) separateLocked() {
	if l.waiting.sharesLine(l.written) && l.worked.Load() {
		l.server.askAlone(aloneAtEnd)
	}
}

// retire lets the requests under way finish and takes no more.
func (l *line) retire() {
	l.mu.Lock()
	l.retired = true
	idle := l.waiting.size == 0
	l.mu.Unlock()
	if idle {
		l.end(faults.Blameless(faults.ErrRetired))
	}
}

// overdue settles the calls that began before the given time, but does not wake them yet. It
// reports the start of the latest of those that are newly overdue, -1 if none is, and whether the
// oldest was first in the line: then the connection is stuck, and if it is to end for that, nothing
// more is written. On one that goes on, the rest will still be written. A call whose caller has
// left is overdue if it is the first: the server has had its time for it.
func (l *line) overdue(before int64, isLast bool) (settled []*call, latest int64, stuck bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	latest = -1
	if l.waiting.size > 0 {
		first := l.waiting.nth(0)
		given := l.givenLocked(first)
		if stuck = given <= before; stuck && !first.overdue {
			first.overdue, latest = true, given
		}
	}
	l.halted = l.halted || isLast && stuck
	for i := range l.waiting.size {
		if e := l.waiting.nth(i); e.start <= before && e.call.settle(e.generation) {
			e.call.err, e.call.sent = faults.ErrTimeout, i < l.written || !l.halted
			if e.given <= before { // else its server has some time left, though its caller has none
				latest = max(latest, e.start)
			}
			settled = append(settled, e.call)
		}
	}
	return settled, latest, stuck
}

// givenLocked is since when the server has had its time for a request: since there is a connection,
// if the dial took most of a call's time. A server that is so far is to keep its connection.
func (l *line) givenLocked(e *entry) int64 {
	if l.conn == nil || l.since-e.given <= int64(l.server.Env.config.Timeout)/2 {
		return e.given
	}
	return l.since
}

// owesSince reports whether the connection was made after a time, and replies are awaited there.
func (l *line) owesSince(after int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil && l.err == nil && l.since > after && l.waiting.size > 0
}

// oldest is the start of the oldest request that may run out of time, or have the line ended: that
// of the first in the line, and of those whose callers wait. A call settled behind the first has to
// wait for its turn, however old it is: one that was tried on another line before comes behind
// younger ones.
func (l *line) oldest() (start int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.waiting.size {
		e := l.waiting.nth(i)
		began := e.start
		if e.call.settled(e.generation) {
			if i > 0 {
				continue
			}
			began = l.givenLocked(e)
		}
		if !ok || began < start {
			start, ok = began, true
		}
	}
	return start, ok
}

// endedAt are the rare operations that the end of the connection may be the answer to. It need not
// be the first in the queue: a proxy may leave those before it without their replies.
func (l *line) endedAt(err error) (ops rareOps) {
	if !isEnd(err) {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.written {
		if o := l.waiting.nth(i).op; o.Rare() {
			ops = ops.with(o)
		}
	}
	return ops
}
