//go:build unix

package sockets

import (
	"net"
	"syscall"
)

// Readable reports whether bytes, or the end, wait in the connection's socket. It takes nothing
// out.
func Readable(conn net.Conn) bool {
	found := false
	var one [1]byte
	control(SocketOf(conn), func(fd int) {
		_, _, err := syscall.Recvfrom(fd, one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		found = err == nil
	})
	return found
}

// Peekable reports whether readable knows all there is: no layer above the socket keeps bytes of
// its own.
func Peekable(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// lingerNot is resetOnClose for sockets that show no more than their descriptor.
func lingerNot(socket net.Conn) bool {
	done := false
	control(socket, func(fd int) {
		done = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}) == nil
	})
	return done
}

// control calls do with the socket's descriptor, if it has one and is open.
func control(socket net.Conn, do func(fd int)) {
	s, ok := socket.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { do(int(fd)) }) // a closed socket has nothing to tell
}
