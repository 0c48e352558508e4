// Package memnet provides in-memory connections for servers that live in this process, and what
// holds them back.
package memnet

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// pipeBuffer is how much one direction of an in-memory connection takes before a writer has to
// wait; an operating system does the same for a socket.
const pipeBuffer = 256 << 10

// Pipe returns the two ends of an in-memory connection to addr. The client's end is a net.Pipe with
// its deadlines; it takes written bytes even while the server does not read. Its maker runs PumpIn
// and PumpOut, each in a goroutine of its own, until they return.
func Pipe(addr string) (net.Conn, *Server) {
	outer, inner := net.Pipe()
	server := &Server{inner: inner, in: newStream(), out: newStream()}
	return &client{Conn: outer, addr: Addr(addr), closed: make(chan struct{})}, server
}

// Addr is the made-up address of an in-memory server.
type Addr string

// Network returns "pipe".
func (Addr) Network() string { return "pipe" }

// String returns the address.
func (a Addr) String() string { return string(a) }

// client is the dialing end: a net.Pipe whose errors look like those of a TCP connection.
type client struct {
	net.Conn
	addr   Addr
	once   sync.Once
	closed chan struct{}
}

// RemoteAddr returns the address of the fake.
func (c *client) RemoteAddr() net.Addr { return c.addr }

// Close closes the connection.
func (c *client) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Read reads the bytes that the fake has sent.
func (c *client) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.translate("read", err)
}

// Write sends p to the fake.
func (c *client) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.translate("write", err)
}

func (c *client) translate(op string, err error) error {
	if !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	select {
	case <-c.closed:
		err = net.ErrClosed
	default:
		err = syscall.ECONNRESET
	}
	return &net.OpError{Op: op, Net: "pipe", Addr: c.addr, Err: err}
}

// Server is the end of the dialled side.
type Server struct {
	inner   net.Conn
	in, out *stream
}

// Read reads the bytes that the client has sent.
func (s *Server) Read(p []byte) (int, error) { return s.in.Read(p) }

// Write sends p to the client.
func (s *Server) Write(p []byte) (int, error) { return s.out.Write(p) }

// Gone reports whether the client has closed the connection; its bytes can still be read.
func (s *Server) Gone() bool {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return s.in.ended
}

// Close ends the connection; bytes already written still reach the client.
func (s *Server) Close() error {
	s.in.end()
	s.out.end()
	return nil
}

// Abort ends the connection and drops the bytes already written.
func (s *Server) Abort() {
	_ = s.Close()
	_ = s.inner.Close() // the Close of a net.Pipe never fails
}

// PumpIn moves data from the client until one end closes.
func (s *Server) PumpIn() {
	_, _ = io.Copy(s.in, s.inner)
	s.in.end()
}

// PumpOut moves data to the client until one end closes.
func (s *Server) PumpOut() {
	_, _ = io.Copy(s.inner, s.out)
	s.Abort()
}

// stream is one direction of a connection: bytes in order, with a limited buffer.
type stream struct {
	mu    sync.Mutex
	moved *sync.Cond // on mu
	data  []byte     // guarded by mu
	ended bool       // guarded by mu; no more writes, but the rest can be read
}

func newStream() *stream {
	s := &stream{}
	s.moved = sync.NewCond(&s.mu)
	return s
}

// Write waits while the buffer is full.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	written := 0
	for written < len(p) {
		for len(s.data) >= pipeBuffer && !s.ended {
			s.moved.Wait()
		}
		if s.ended {
			return written, io.ErrClosedPipe
		}
		n := min(len(p)-written, pipeBuffer-len(s.data))
		s.data = append(s.data, p[written:written+n]...)
		written += n
		s.moved.Broadcast()
	}
	return written, nil
}

// Read waits while the buffer is empty.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.data) == 0 && !s.ended {
		s.moved.Wait()
	}
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	s.moved.Broadcast()
	return n, nil
}

// end refuses further writes.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.moved.Broadcast()
}
