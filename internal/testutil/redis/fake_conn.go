package redis

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// queuedCommands is how many commands of one connection are read ahead, so that its end is seen
// although one of them blocks.
const queuedCommands = 1024

// fakeConn is the server's side of one connection. One goroutine reads, one carries commands out,
// one writes.
type fakeConn struct {
	life *life
	raw  io.ReadWriteCloser
	id   int
	todo chan Command
	gone chan struct{} // closed when the client sends no more
	once sync.Once
	done chan struct{} // closed by close

	proto atomic.Int32 // 2 or 3
	mute  atomic.Bool
	user  atomic.Pointer[string] // nil: not logged in

	session session // of the goroutine that carries commands out

	mu      sync.Mutex
	pending []byte // guarded by mu; bytes to be written
	last    bool   // guarded by mu; the connection ends after that
	more    chan struct{}
}

func newFakeConn(l *life, conn io.ReadWriteCloser, id int) *fakeConn {
	c := &fakeConn{
		life: l, raw: conn, id: id, todo: make(chan Command, queuedCommands), gone: make(chan struct{}),
		done: make(chan struct{}), more: make(chan struct{}, 1),
	}
	c.session.reset(c)
	return c
}

func (c *fakeConn) start() {
	c.life.node.workers.Go(c.read)
	c.life.node.workers.Go(c.work)
	c.life.node.workers.Go(c.write)
}

// close may be called from any goroutine, more than once.
func (c *fakeConn) close() {
	c.once.Do(func() {
		close(c.done)
		_ = c.raw.Close() // the client sees the end either way
		c.life.node.bus.leave(c)
	})
}

// read queues commands until the client leaves.
func (c *fakeConn) read() {
	defer close(c.gone)
	in := bufio.NewReader(c.raw)
	for index := 1; ; {
		args, err := readCommand(in)
		if failure := ReplyError(""); errors.As(err, &failure) {
			c.finish(appendReply(nil, 2, failure))
		}
		if err != nil {
			return
		}
		if len(args) == 0 {
			continue
		}
		select {
		case c.todo <- Command{Conn: c.id, Index: index, Args: args}:
			index++
		case <-c.done:
			return
		}
	}
}

// work carries the commands out, and those still queued when the client leaves.
func (c *fakeConn) work() {
	defer c.life.forget(c)
	for {
		select {
		case cmd := <-c.todo:
			if !c.life.gate.Pass(c.done) {
				return
			}
			c.answer(cmd)
		case <-c.done:
			return
		case <-c.gone:
			if len(c.todo) == 0 {
				c.finish(nil)
				<-c.done
				return
			}
		}
	}
}

// answer carries out one command with the fault chosen for it.
func (c *fakeConn) answer(cmd Command) {
	n := c.life.node
	n.record(cmd)
	fault := n.faultFor(cmd)
	if fault.delay > 0 && !c.sleep(fault.delay) {
		return
	}
	var reply []byte
	switch {
	case fault.instead != nil:
		reply = fault.instead
	case fault.cut:
		// What it says on its own meanwhile, such as that it has subscribed, is cut off as well.
		reply = appendReply(nil, int(c.proto.Load()), c.session.run(cmd.Args))
		reply = reply[:min(fault.keep, len(reply))]
	default:
		result := c.session.run(cmd.Args)
		reply = appendReply(nil, int(c.proto.Load()), result)
	}
	if fault.mute {
		c.mute.Store(true)
	}
	if fault.cut {
		c.finish(reply)
		return
	}
	if strings.EqualFold(cmd.Args[0], "QUIT") {
		c.finish(reply)
		return
	}
	c.send(reply)
}

// sleep waits for d. It returns false if the connection ends first.
func (c *fakeConn) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
		return false
	}
}

// say sends v on its own, not as the reply to a command.
func (c *fakeConn) say(v any) { c.send(appendReply(nil, int(c.proto.Load()), v)) }

func (c *fakeConn) send(data []byte) {
	if c.mute.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last {
		c.pending = append(c.pending, data...)
		c.wakeLocked()
	}
}

// finish sends data and ends the connection.
func (c *fakeConn) finish(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last {
		c.pending = append(c.pending, data...)
		c.last = true
		c.wakeLocked()
	}
}

func (c *fakeConn) wakeLocked() {
	select {
	case c.more <- struct{}{}:
	default: // it is awake already
	}
}

// write sends the pending bytes until the connection ends.
func (c *fakeConn) write() {
	defer c.close()
	for {
		select {
		case <-c.more:
		case <-c.done:
			return
		}
		if !c.life.gate.Pass(c.done) {
			return
		}
		c.mu.Lock()
		data, last := c.pending, c.last
		c.pending = nil
		c.mu.Unlock()
		if len(data) > 0 {
			if _, err := c.raw.Write(data); err != nil {
				return
			}
		}
		if last {
			return
		}
	}
}
