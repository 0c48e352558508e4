// Package sockets looks into connections, and resets them.
package sockets

import (
	"net"
	"net/netip"
	"syscall"
)

// maxWrappers bounds how deep connections are looked for within connections.
const maxWrappers = 16

// SocketOf finds the connection at the bottom of those that wrap one another and say so, as
// *tls.Conn does.
func SocketOf(conn net.Conn) net.Conn {
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

// Discard closes a connection at once. Bytes that the peer has not acknowledged are dropped with
// it: a write that its caller was told had failed must not arrive once the network heals. The
// socket goes first: what wraps it, like TLS, would say goodbye through it, behind the very bytes
// that are to be dropped, and wait for that.
func Discard(conn net.Conn) {
	socket := SocketOf(conn)
	_ = resetOnClose(socket) // if it fails, the close is merely a polite one
	_ = socket.Close()
	if socket != conn {
		_ = conn.Close()
	}
}

// resetOnClose makes a socket's close drop its unsent bytes. It reports whether the socket is
// known.
func resetOnClose(socket net.Conn) bool {
	if s, ok := socket.(interface{ SetLinger(sec int) error }); ok {
		return s.SetLinger(0) == nil
	}
	return lingerNot(socket)
}

// Resettable reports whether discard can reset a connection.
func Resettable(conn net.Conn) bool {
	switch SocketOf(conn).(type) {
	case interface{ SetLinger(sec int) error }, syscall.Conn:
		return true
	}
	return false
}

// RemoteOf is the IP address that a connection goes to.
func RemoteOf(conn net.Conn) (netip.Addr, bool) {
	remote := conn.RemoteAddr()
	if tcp, ok := remote.(*net.TCPAddr); ok && tcp != nil {
		return tcp.AddrPort().Addr().Unmap(), true
	}
	if remote == nil {
		return netip.Addr{}, false
	}
	parsed, err := netip.ParseAddrPort(remote.String())
	return parsed.Addr().Unmap(), err == nil
}
