package testutil

import (
	"net"
	"syscall"
)

// tcpClose is the state of a TCP socket whose peer has reset it.
const tcpClose = 7

// isReset reports whether the peer has reset a connection, also while there are bytes before that
// to be read.
func isReset(conn net.Conn) (reset bool) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		reset = err == nil && byte(info) == tcpClose // the state is the first byte, which is the lowest where tests run
	})
	return reset
}
