// Package line carries the requests of one process to another over one connection, which many
// callers share. A Line asks, a Session answers; package frame has the form of what they say.
//
// Why no caller gets another's answer: a stream is a slot of the line's table and a number that
// counts the slot's lives. A slot is given to the next caller only when the last answer to the one
// before was read, be that one gone or not, and an answer that names another life ends the line.
package line

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const (
	slotBits = 14
	maxSlots = 1 << slotBits

	readBuffer = 64 << 10
	// maxOutstanding is how many bytes of requests may be without an answer while callers write
	// themselves: a connection whose peer reads nothing takes more without blocking.
	maxOutstanding = 8 << 10
	// maxQueued is how many bytes may wait to be written; requests are refused above.
	maxQueued = 64 << 20
)

// Options are what a Line needs to know. All fields are required.
type Options struct {
	// MaxValueSize bounds the values of answers, in bytes.
	MaxValueSize int64
	// MaxAnswers bounds the body of the answers to so many keys, in bytes.
	MaxAnswers func(keys int) int64
	// Stamp numbers what tells the peer something. done is called when it has been answered, or
	// given up.
	Stamp func() (s frame.Stamp, done func())
}

// Line asks a peer. It is safe for concurrent use.
type Line struct {
	options Options
	conn    io.ReadWriteCloser
	out     writer
	began   time.Time
	ended   chan struct{}
	leaving atomic.Bool // the peer takes no more requests
	work    sync.WaitGroup
	watch   watch
	calls   sync.Pool // of *call

	// Guarded by out.mu.
	slots       []slot
	free        []uint32 // of slots
	open        int      // slots that are not free
	outstanding int      // bytes of requests without an answer
}

// slot is a place in the table of calls.
type slot struct {
	life uint32 // of the stream that has it
	call *call  // nil if its caller has left
	used bool   // no answer has been read
	size int    // of the request

	asked time.Duration // when that was
	room  int64         // bytes that the rest of its answer may have
	heard time.Duration // when a sign of it last came, since its caller has left
}

// call is a caller that waits.
type call struct {
	done   chan struct{} // of capacity 1
	line   *Line         // of a Get
	stream uint32
	began  time.Duration // when a Get was asked
	limit  int64         // that the answer may have
	alive  func()
	watched

	head   frame.Head
	body   []byte
	value  string
	expire int64
	err    error
}

// newCall makes a call whose answer has so many bytes at most.
func (l *Line) newCall(limit int64, alive func()) *call {
	c, ok := l.calls.Get().(*call)
	if !ok {
		c = &call{done: make(chan struct{}, 1)}
	}
	c.limit, c.alive = limit, alive
	return c
}

// release gives a call back, without what it refers to.
func (l *Line) release(c *call) {
	*c = call{done: c.done}
	l.calls.Put(c)
}

// New makes the line of a connection, whose peer has been told that frames follow.
func New(conn io.ReadWriteCloser, o Options) *Line {
	l := &Line{options: o, conn: conn, began: time.Now(), ended: make(chan struct{})}
	l.out.init(conn, l.end)
	l.out.gone = l.progressed
	l.watch.init(l)
	l.work.Go(func() { l.end(l.read(bufio.NewReaderSize(conn, readBuffer))) })
	return l
}

// Ended is closed when the line has ended.
func (l *Line) Ended() <-chan struct{} { return l.ended }

// Takes reports whether the line takes requests.
func (l *Line) Takes() bool {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return l.out.err == nil && !l.leaving.Load()
}

// Leaves reports whether the peer has said that it takes no more requests.
func (l *Line) Leaves() bool { return l.leaving.Load() }

// Close ends the line and all calls, and waits for its goroutines.
func (l *Line) Close() {
	l.end(ErrClosed)
	l.work.Wait()
	l.out.work.Wait()
}

var (
	// ErrClosed ends a line by Close.
	ErrClosed = errors.New("the connection was given up")
	// ErrLeft ends a line whose peer takes no more requests.
	ErrLeft = errors.New("the peer has ended the connection in good order")
	// ErrSilent ends a line whose peer says too little.
	ErrSilent = errors.New("the peer is silent")
)

// Cause is why the line has ended, nil if it has not.
func (l *Line) Cause() error {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return l.out.err
}

// end ends the line: all calls fail, for one reason.
func (l *Line) end(err error) {
	l.out.mu.Lock()
	if l.out.err != nil {
		l.out.mu.Unlock()
		return
	}
	l.out.endLocked(err)
	slots := l.slots
	l.slots, l.free, l.open = nil, nil, 0
	l.watch.stopLocked()
	l.out.mu.Unlock()
	lost := &wire.LostError{Cause: err}
	for i := range slots {
		if c := slots[i].call; c != nil {
			c.err = lost
			c.done <- struct{}{}
		}
	}
	_ = l.conn.Close() // last: that of TLS may take seconds to say so to a peer that reads nothing
	close(l.ended)
}

// request is a question.
type request struct {
	kind  frame.Kind
	group string
	lead  []byte // of the body, behind the name of the group
	body  string
	trace []byte
}

// ask makes a request and waits for its answer, which is then in c. Nobody uses c any more when it
// returns.
func (l *Line) ask(ctx context.Context, c *call, r request) error {
	if err := l.send(c, r); err != nil {
		return err
	}
	if ctx.Done() == nil {
		<-c.done
		return c.err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	if l.leave(c, c.stream) {
		return ctx.Err()
	}
	<-c.done
	return c.err
}

// send gives a call a stream, and writes its request, or has it written.
func (l *Line) send(c *call, r request) error {
	var room [256]byte
	lead := room[:0]
	h := frame.Head{Kind: r.kind, Group: uint16(len(r.group))}
	if len(r.trace) > 0 {
		h.Flags |= frame.Traced
		lead = frame.AppendTrace(lead, r.trace)
	}
	lead = append(append(lead, r.group...), r.lead...)
	size := frame.HeadSize + len(lead) + len(r.body)
	w := &l.out
	w.mu.Lock()
	if w.err != nil || l.leaving.Load() {
		w.mu.Unlock()
		return wire.ErrNotTaken
	}
	if l.open == maxSlots || w.size > maxQueued {
		w.mu.Unlock()
		return wire.ErrBusy
	}
	h.Stream = l.enterLocked(c, size)
	c.stream = h.Stream
	l.watch.startLocked(c)
	w.appendLocked(h, lead, r.body)
	if l.outstanding > maxOutstanding {
		w.handUnlocking()
		return nil
	}
	if !w.writing {
		w.own, w.since = true, time.Duration(c.heard)
	}
	if l.open > 2 {
		w.gatherUnlocking()
	} else {
		w.writeUnlocking()
	}
	return nil
}

// enterLocked puts a call, or nobody, into a free slot and returns its stream.
func (l *Line) enterLocked(c *call, size int) uint32 {
	var at uint32
	if n := len(l.free); n > 0 {
		at = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		at = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[at]
	s.call, s.used, s.size = c, true, size
	s.life++
	l.open++
	l.outstanding += size
	return s.life<<slotBits | at
}

// leave gives a call up, unless its answer is there. Its slot is kept until the answer to its
// question has come.
func (l *Line) leave(c *call, stream uint32) bool {
	w := &l.out
	w.mu.Lock()
	s := l.slotLocked(stream)
	if s == nil || s.call != c {
		w.mu.Unlock()
		return false
	}
	l.abandonLocked(s, stream)
	w.handUnlocking()
	return true
}

// abandonLocked takes the caller out of a slot and queues that it has left.
func (l *Line) abandonLocked(s *slot, stream uint32) {
	s.call, s.heard = nil, time.Since(l.began)
	if b := l.out.dropLocked(stream); b != nil && !b.begun { // the peer knows nothing of it
		l.freeLocked(stream)
		return
	}
	l.out.appendLocked(frame.Head{Kind: frame.Cancel, Stream: stream}, nil, "")
}

// slotLocked is the slot of a stream that has not been answered, nil if there is none.
func (l *Line) slotLocked(stream uint32) *slot {
	at := stream & (maxSlots - 1)
	if int(at) >= len(l.slots) {
		return nil
	}
	s := &l.slots[at]
	if !s.used || s.life<<slotBits != stream&^(maxSlots-1) {
		return nil
	}
	return s
}

// freeLocked frees the slot of a stream whose last answer has been read, and returns who waits for
// it, nil if nobody does.
func (l *Line) freeLocked(stream uint32) (c *call, ok bool) {
	s := l.slotLocked(stream)
	if s == nil {
		return nil, false
	}
	c = s.call
	l.outstanding -= s.size
	s.call, s.used = nil, false
	l.free = append(l.free, stream&(maxSlots-1))
	l.open--
	return c, true
}

// progressed is told of a long body when pieces have gone out, of it or of those before it: that is
// a sign of life.
func (l *Line) progressed(b *longBody) {
	l.watch.signs.Add(1)
	if s := l.slotLocked(b.head.Stream); s != nil && s.call != nil {
		l.aliveLocked(s.call)
	}
}

func (l *Line) aliveLocked(c *call) {
	c.sign(int64(time.Since(l.began)))
	if c.alive != nil {
		c.alive()
	}
}

// wrong is the error of what a peer of ours does not say.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %w: "+format, append([]any{wire.ErrForeign, frame.ErrMalformed}, args...)...)
}
