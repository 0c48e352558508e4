package memcache

import (
	"net"
	"syscall"
)

// maxWrappers bounds how deep connections are looked for within connections.
const maxWrappers = 16

// socketOf finds the connection at the bottom of those that wrap one another and say so, as
// *tls.Conn does.
func socketOf(conn net.Conn) net.Conn {
	for range maxWrappers {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		inner := outer.NetConn()
		if inner == nil {
			break
		}
		conn = inner
	}
	return conn
}

// discard closes a connection at once. Bytes that the peer has not acknowledged are dropped with
// it: a write that its caller was told had failed must not arrive once the network heals. The
// socket goes first: what wraps it, like TLS, would say goodbye through it, behind the very bytes
// that are to be dropped, and wait for that.
func discard(conn net.Conn) {
	socket := socketOf(conn)
	_ = resetOnClose(socket) // if it fails, the close is merely a polite one
	_ = socket.Close()
	if socket != conn {
		_ = conn.Close()
	}
}

// resetOnClose makes a socket's close drop what it still holds. It reports whether the socket is
// known.
func resetOnClose(socket net.Conn) bool {
	if s, ok := socket.(interface{ SetLinger(sec int) error }); ok {
		return s.SetLinger(0) == nil
	}
	return lingerNot(socket)
}

// resettable reports whether discard can reset a connection.
func resettable(conn net.Conn) bool {
	switch socketOf(conn).(type) {
	case interface{ SetLinger(sec int) error }, syscall.Conn:
		return true
	}
	return false
}
