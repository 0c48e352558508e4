//go:build unix

package wire

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// socket reads without waiting. It belongs to the goroutine in the role of the reader.
type socket struct {
	conn net.Conn
	raw  syscall.RawConn // nil: the connection has none that may be read, such as one that is encrypted
	buf  []byte
	n    int
	err  error
	try  func(fd uintptr) bool // made once
}

func newSocket(conn net.Conn) *socket {
	s := &socket{conn: conn}
	switch conn := conn.(type) {
	case *net.TCPConn:
		s.raw, _ = conn.SyscallConn()
	case *net.UnixConn:
		s.raw, _ = conn.SyscallConn()
	}
	s.try = func(fd uintptr) bool {
		s.n, s.err = syscall.Read(int(fd), s.buf)
		return true
	}
	return s
}

func (s *socket) readable() bool { return s.raw != nil }

// tryRead returns the bytes that are there. With again nothing is, yet; with neither, the next read
// tells why. An error is returned here, as the system tells it once.
func (s *socket) tryRead(b []byte) (n int, again bool, err error) {
	s.buf = b
	err = s.raw.Read(s.try)
	s.buf = nil
	switch {
	case err != nil: // its deadline: somebody wants the reader to look up
		return 0, false, nil
	case errors.Is(s.err, syscall.EAGAIN), errors.Is(s.err, syscall.EINTR):
		return 0, true, nil
	case s.err != nil:
		local, remote := s.conn.LocalAddr(), s.conn.RemoteAddr()
		return 0, false, &net.OpError{Op: "read", Net: local.Network(), Source: local, Addr: remote, Err: os.NewSyscallError("read", s.err)}
	}
	return s.n, false, nil
}
