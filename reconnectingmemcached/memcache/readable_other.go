//go:build !unix

package memcache

import "net"

// readable cannot look into sockets here.
func readable(net.Conn) bool { return false }
