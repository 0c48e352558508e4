//go:build unix

package wire

import (
	"errors"
	"net"
	"syscall"
)

// socket reads without waiting. It belongs to whoever has the role of the reader.
type socket struct {
	raw syscall.RawConn // nil: the connection has none that may be read, such as one that is encrypted
	buf []byte
	n   int
	err error
	try func(fd uintptr) bool // made once
}

func newSocket(conn net.Conn) *socket {
	s := &socket{}
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

// tryRead returns what is there. With again nothing is, yet.
func (s *socket) tryRead(b []byte) (n int, again bool) {
	s.buf = b
	err := s.raw.Read(s.try)
	s.buf = nil
	if err != nil { // its deadline: somebody wants the reader to look up
		return 0, false
	}
	return max(s.n, 0), errors.Is(s.err, syscall.EAGAIN) || errors.Is(s.err, syscall.EINTR)
}
