package testutil

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/memnet"
)

// errEnough ends a connection after a fault that closes it.
var errEnough = errors.New("testutil: the fault closes the connection")

// fakeConn is the server's side of one connection.
type fakeConn struct {
	life *life
	raw  io.ReadWriteCloser
	in   *bufio.Reader
	out  *bufio.Writer
	id   int
	buf  []byte // the reply being made

	once sync.Once
	done chan struct{} // closed by close
}

func newFakeConn(l *life, raw io.ReadWriteCloser) *fakeConn {
	c := &fakeConn{life: l, raw: raw, id: l.fake.counters.opened(), done: make(chan struct{})}
	c.in = bufio.NewReaderSize(readFunc(c.read), maxLine)
	c.out = bufio.NewWriterSize(writeFunc(c.write), maxLine)
	return c
}

type (
	readFunc  func([]byte) (int, error)
	writeFunc func([]byte) (int, error)
)

// Read calls f.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// Write calls f.
func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

// read sends the replies made so far before it waits for more commands.
func (c *fakeConn) read(p []byte) (int, error) {
	if err := c.out.Flush(); err != nil {
		return 0, err
	}
	n, err := c.raw.Read(p)
	c.life.fake.counters.in.Add(int64(n))
	return n, err
}

func (c *fakeConn) write(p []byte) (int, error) {
	if !c.life.gate.Pass(c.done) {
		return 0, ErrNotRunning
	}
	n, err := c.raw.Write(p)
	c.life.fake.counters.out.Add(int64(n))
	return n, err
}

// close may be called from any goroutine, more than once.
func (c *fakeConn) close() {
	c.once.Do(func() {
		close(c.done)
		_ = c.raw.Close() // the client sees the end either way
		c.life.fake.counters.closed()
	})
}

// serve answers commands until the client leaves, the server dies or a fault closes the connection.
func (c *fakeConn) serve() {
	defer c.life.forget(c)
	defer c.close()
	connect := Command{Conn: c.id, Verb: VerbConnect}
	if fault := c.life.fake.faultFor(connect); fault.appliesTo(connect) && fault.send(c, connect, nil) != nil {
		return
	}
	for index := 1; ; index++ {
		r, err := readRequest(c.in, c.life.fake.options.MaxItemSize)
		if err != nil {
			return
		}
		r.Conn, r.Index = c.id, index
		c.life.fake.counters.command(r.Verb)
		if !c.life.gate.Pass(c.done) || r.Verb == "quit" {
			_ = c.out.Flush()
			return
		}
		if err := c.answer(r); err != nil {
			return
		}
	}
}

// answer carries out one request and sends the reply, with the fault chosen for it.
func (c *fakeConn) answer(r *request) error {
	fault := c.life.fake.faultFor(r.Command)
	faulty := fault.appliesTo(r.Command)
	c.buf = c.buf[:0]
	if !faulty || !fault.instead {
		c.buf = c.life.run(r, c.buf)
	}
	if faulty {
		return fault.send(c, r.Command, c.buf)
	}
	_, err := c.out.Write(c.buf)
	return err
}

// pause waits for d, or until the connection is closed. What an in-memory client had sent before it
// left meanwhile is not carried out: the pause is the network's, and a reset drops what that holds.
// A fake that hangs does work it off.
func (c *fakeConn) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		if pipe, ok := c.raw.(*memnet.Server); ok && pipe.Gone() {
			return ErrNotRunning
		}
		return nil
	case <-c.done:
		return ErrNotRunning
	}
}

// put sends p at once, after the replies made before.
func (c *fakeConn) put(p []byte) error {
	if _, err := c.out.Write(p); err != nil {
		return err
	}
	return c.out.Flush()
}

// last sends p and ends the connection.
func (c *fakeConn) last(p []byte) error {
	if err := c.put(p); err != nil {
		return err
	}
	return errEnough
}

// mute reads on and answers nothing until the connection ends.
func (c *fakeConn) mute() error {
	_, err := io.Copy(io.Discard, c.in)
	return errors.Join(err, errEnough)
}
