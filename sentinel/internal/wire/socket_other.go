//go:build !unix

package wire

import "net"

// socket reads without waiting, which this system has no call for.
type socket struct{}

func newSocket(net.Conn) *socket { return &socket{} }

func (*socket) readable() bool { return false }

func (*socket) tryRead([]byte) (n int, again bool, err error) { return 0, false, nil }
