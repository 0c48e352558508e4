// Package wire is the connection that package sentinel sends commands over: one that any number of
// callers share, whose calls end when their contexts do, whatever the server does.
package wire

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	// inlineBytes is how much may be on its way unanswered while callers still write by themselves:
	// a write of this size fits the socket's buffer, so that it cannot hold its caller beyond the
	// end of its context.
	inlineBytes = 16 << 10
	// maxQueued is how much may wait to be written before callers wait for room.
	maxQueued = 16 << 20
	// maxAbandoned is how many calls that were given up keep their places before callers wait for
	// room.
	maxAbandoned = 10_000
	// keepBuffer is the largest buffer that an idle connection keeps.
	keepBuffer = 256 << 10
)

// ErrClosed ends the calls of a connection that was closed by its owner.
var ErrClosed = errors.New("the connection was closed")

// ErrFenced refuses a write on a connection that takes only reads at the moment.
var ErrFenced = errors.New("the connection takes no writes")

// ErrRetired refuses calls on a connection that is no longer used, and ends it after its last
// reply.
var ErrRetired = errors.New("the connection is no longer used")

// ErrStuck ends a connection that is not answered on while the server answers on another.
var ErrStuck = observe.NewCause("connection stuck", "the connection is not answered on, while the server answers on another")

// Failure is why a call got no reply.
type Failure struct {
	// Sent says that the server may have got the command, and carried it out.
	Sent bool
	// Unused says that the request can still be sent, on another connection; else it must be
	// dropped.
	Unused bool
	// Err is the reason: the context's error, or the connection's.
	Err error
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the reason.
func (f *Failure) Unwrap() error { return f.Err }

// Options say how a connection works.
type Options struct {
	// Epoch is the zero of the clock of all times that are numbers, which count nanoseconds;
	// required.
	Epoch time.Time
	// Calls recycles calls among connections; required.
	Calls *Calls
	// OnAlarm is told of replies such as READONLY, by the goroutine that reads: it must not wait.
	// Default nil.
	OnAlarm func(Alarm)
	// OnEnd is told once why the connection ended, before its calls are. It must not wait. Default
	// nil.
	OnEnd func(error)
	// Go runs the connection's goroutines; required. They end soon after the connection has.
	Go func(func())
	// MaxReply bounds one reply, in bytes; a larger one ends the connection. Default 2 GiB.
	MaxReply int
	// Heard is set to the time when bytes were last read; several connections to a server may share
	// one. Default: one of its own.
	Heard *atomic.Int64
	// Silence is how long the oldest request may go unanswered while nothing is read, and Witness
	// tells when the server was last heard on another connection. If it is heard there meanwhile,
	// this connection has lost its way, and ends with ErrStuck. Requests that block may take as
	// long as they like. Default 0: no limit.
	Silence time.Duration
	Witness *atomic.Int64
}

// Conn is a connection to a redis or a sentinel. It implements radix.Conn. Any number of callers
// may use it at once: their commands are written in the order in which they came, many with one
// system call, and answered in that order.
//
// A caller that has the connection for itself reads its own reply; the others leave that to a
// goroutine.
type Conn struct {
	options Options
	net     net.Conn
	opts    *resp.Opts // of the reader, for decoding
	gone    chan struct{}
	handed  chan struct{} // tells the reader goroutine that reading is its turn; capacity 1
	inbox   inbox         // used by the goroutine in the role of the reader
	socket  *socket       // used by the same
	eager   eagerness     // used by the same
	buffers bool          // net takes a small write while the server does not read
	parked  atomic.Bool   // the reader waits for the network, not for a receiver
	reads   atomic.Uint64 // how often bytes were read
	tick    ticker

	mu         sync.Mutex
	err        error         // why it ended; guarded by mu
	retired    bool          // takes no more calls and ends with its last reply; guarded by mu
	fenced     bool          // takes no writes; guarded by mu
	waiting    fifo          // calls without a reply, oldest first; guarded by mu
	written    int           // how many of waiting have been handed to the network; guarded by mu
	queued     []byte        // requests to be written; guarded by mu
	spare      []byte        // the other write buffer; guarded by mu
	unanswered int           // bytes of the written calls; guarded by mu
	abandoned  int           // how many of waiting have been given up; guarded by mu
	seen       uint64        // of reads, at the last tick; guarded by mu
	silence    silence       // guarded by mu
	patient    bool          // a reply that is owed may be late: its request blocks; guarded by mu
	owed       int           // replies that calls will still come for, to requests that were only sent; guarded by mu
	writing    bool          // somebody is at it; guarded by mu
	room       chan struct{} // closed when queued has been taken, nil if nobody waits for that; guarded by mu
	reading    bool          // somebody has the role of the reader; guarded by mu
	alone      bool          // callers came one at a time lately, and read their own replies; guarded by mu
	peak       int           // most calls at once since the last tick; guarded by mu
}

var _ radix.Conn = (*Conn)(nil)

// NewConn makes a Conn of a network connection, which it owns from then on.
func NewConn(conn net.Conn, o Options) *Conn {
	c := &Conn{options: o, net: conn, opts: resp.NewOpts(), gone: make(chan struct{}), handed: make(chan struct{}, 1), reading: true}
	if c.options.Heard == nil {
		c.options.Heard = new(atomic.Int64)
	}
	c.tick.conn = c
	c.inbox.framer.limit = o.MaxReply
	c.socket, c.eager.score, c.buffers = newSocket(conn), lookScore, buffers(conn)
	c.options.Go(c.readForOthers)
	c.handed <- struct{}{}
	return c
}

func (c *Conn) sinceEpoch() int64 { return int64(time.Since(c.options.Epoch)) }

// Addr is the address of the server.
func (c *Conn) Addr() net.Addr { return c.net.RemoteAddr() }

// Do performs an action on this connection.
func (c *Conn) Do(ctx context.Context, a radix.Action) error { return a.Perform(ctx, c) }

// EncodeDecode sends a request and decodes its replies, one for each command in it. A nil request
// only waits for a reply, a nil receiver only sends; what a later call with a nil request gets is
// then the reply to it. With both nil there is nothing to do. An error that is not the server's,
// nor one of encoding or decoding, is a *Failure.
func (c *Conn) EncodeDecode(ctx context.Context, request, into any) error {
	if request == nil && into == nil {
		return nil
	}
	r, err := c.options.Calls.Encode(ctx, request)
	if err != nil {
		return err
	}
	if into == nil && request != nil {
		r.SendOnly()
	}
	_, err = c.Send(r, into)
	var f *Failure
	if errors.As(err, &f) && f.Unused {
		c.options.Calls.Drop(r)
	}
	return err
}

// Send sends the request, decodes the replies into the receiver (nil: drops them), and returns when
// they had arrived, on the clock of Options, or 0 if none had. Unless the error is a Failure that
// says otherwise, the request is used up.
func (c *Conn) Send(r Request, into any) (at int64, err error) {
	call := r.call
	if call.apart = !prompt(into); !call.apart {
		call.into = into
	}
	if deadline, ok := call.ctx.Deadline(); ok {
		call.deadline = max(1, int64(deadline.Sub(c.options.Epoch)))
	}
	read, err := c.enqueue(call)
	if err != nil {
		return 0, err
	}
	if read {
		c.readOwn(call)
	}
	<-call.done
	at, err = call.at, call.err
	switch {
	case at == 0 && err != nil:
		err = &Failure{Sent: call.sent, Err: err}
	case call.apart && err == nil && len(call.reply) > 0:
		err = decode(&call.decoder, call.reply, into, call.opts)
	}
	c.options.Calls.put(call)
	return at, err
}

// enqueue queues a call and, if nobody is writing, writes. With read the caller has got the role of
// the reader.
func (c *Conn) enqueue(r *call) (read bool, err error) {
	c.mu.Lock()
	if err := c.admitLocked(r); err != nil {
		c.mu.Unlock()
		return false, &Failure{Unused: true, Err: err}
	}
	r.size = len(r.request)
	c.queued = append(c.queued, r.request...)
	c.waiting.add(r)
	c.peak = max(c.peak, c.waiting.size)
	if c.alone && !c.reading {
		c.reading, read = true, true
	}
	if c.writing {
		c.mu.Unlock()
		c.tick.cover(r.deadline)
		return read, nil
	}
	c.writing = true
	inline := c.unanswered+len(c.queued) <= inlineBytes
	crowded := c.waiting.size > 1
	c.mu.Unlock()
	c.tick.cover(r.deadline)
	if !inline {
		c.options.Go(c.writeAll)
		return read, nil
	}
	if crowded {
		runtime.Gosched() // callers that were woken together queue now and share this write
	}
	if c.writeOnce() {
		c.options.Go(c.writeAll) // a caller must not write for others for ever
	}
	return read, nil
}

// admitLocked tells why a call cannot be queued, after waiting for room if there is none.
func (c *Conn) admitLocked(r *call) error {
	for c.fullLocked(len(r.request)) && c.err == nil {
		if err := c.awaitRoomLocked(r.ctx); err != nil {
			return err
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case c.retired:
		return ErrRetired
	case c.fenced && r.class&Writes != 0:
		return ErrFenced
	}
	return nil
}

func (c *Conn) fullLocked(size int) bool {
	return len(c.queued) > 0 && len(c.queued)+size > maxQueued || c.abandoned >= maxAbandoned
}

// makeRoomLocked wakes the callers that wait for room.
func (c *Conn) makeRoomLocked() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// awaitRoomLocked waits until there may be room, without the lock meanwhile.
func (c *Conn) awaitRoomLocked(ctx context.Context) error {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-room:
		return nil
	case <-c.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeAll writes until nothing is queued.
func (c *Conn) writeAll() {
	for more := true; more; {
		runtime.Gosched() // as in enqueue
		more = c.writeOnce()
	}
}

// writeOnce writes what has queued, and reports whether more has queued meanwhile. The caller has
// the role of the writer, and keeps it if there is more.
func (c *Conn) writeOnce() (more bool) {
	batch, arrived := c.takeQueued()
	if len(batch) > 0 {
		if _, err := c.net.Write(batch); err != nil {
			c.end(err)
		}
	}
	if arrived {
		c.interrupt()
	}
	return c.doneWriting(batch)
}

// takeQueued takes the bytes to write. With arrived the reader may hold replies already that the
// calls are waiting for.
func (c *Conn) takeQueued() (batch []byte, arrived bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, false
	}
	batch = c.queued
	c.queued, c.spare = c.spare[:0], nil
	c.makeRoomLocked()
	c.written = c.waiting.size
	c.unanswered += len(batch)
	return batch, c.owed > 0
}

// interrupt makes the reader look up. If that fails, the connection has ended.
func (c *Conn) interrupt() { _ = c.net.SetReadDeadline(time.Unix(1, 0)) }

func (c *Conn) doneWriting(batch []byte) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cap(batch) <= keepBuffer && batch != nil {
		c.spare = batch
	}
	c.settleSentLocked()
	c.writing = c.err == nil && c.written < c.waiting.size
	return c.writing
}

// settleSentLocked ends the calls that expect no reply, which are only those of a connection with
// one user: they come first.
func (c *Conn) settleSentLocked() {
	for c.written > 0 && c.waiting.peek(0).replies == 0 {
		r := c.waiting.pop()
		c.written--
		c.unanswered -= r.size
		c.owed += r.owes
		c.patient = c.patient || r.class&Blocks != 0
		if r.claim(settled) {
			r.at = c.sinceEpoch()
			r.done <- struct{}{}
		}
	}
}

// Close ends the connection and its calls with ErrClosed. It returns nil.
func (c *Conn) Close() error {
	c.end(ErrClosed)
	return nil
}

// End ends the connection and its calls with err. Only the first end counts.
func (c *Conn) End(err error) { c.end(err) }

// Gone is closed when the connection has ended.
func (c *Conn) Gone() <-chan struct{} { return c.gone }

// Err is why the connection ended, nil if it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Retire lets the calls under way finish, takes no more, and then ends the connection.
func (c *Conn) Retire() {
	c.mu.Lock()
	c.retired = true
	idle := c.waiting.size == 0
	c.mu.Unlock()
	if idle {
		c.end(ErrRetired)
	}
}

// Fence refuses writes from now on, with ErrFenced.
func (c *Conn) Fence() { c.setFenced(true) }

// Unfence takes writes again.
func (c *Conn) Unfence() { c.setFenced(false) }

func (c *Conn) setFenced(fenced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fenced = fenced
}

// InFlight is how many calls are under way.
func (c *Conn) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting.size
}

// Idle reports whether the connection lives and owes nobody a reply, so that another may use it.
func (c *Conn) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && c.waiting.size == 0 && c.owed == 0
}

func (c *Conn) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	waiting, written := c.waiting, c.written
	c.waiting, c.written, c.queued, c.spare = fifo{}, 0, nil, nil
	c.makeRoomLocked()
	c.mu.Unlock()

	c.tick.stop()
	if c.options.OnEnd != nil {
		c.options.OnEnd(err)
	}
	close(c.gone)
	c.discard()
	for i := range waiting.size {
		waiting.peek(i).fail(settled, err, i < written)
	}
}

// discard closes the network connection at once. Bytes that the server has not acknowledged are
// dropped with it: a write whose caller was told that it had failed must not arrive once the
// network heals. The wrapped connection (TLS) is closed first, so that nobody says goodbye and
// flushes.
func (c *Conn) discard() {
	inner := c.net
	for {
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner = wrapper.NetConn()
	}
	if tcp, ok := inner.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // if it fails, the close is merely a polite one
	}
	_ = inner.Close()
	_ = c.net.Close()
}
