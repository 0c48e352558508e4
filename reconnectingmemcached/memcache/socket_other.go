//go:build !unix

package memcache

import "net"

// readable cannot look into sockets here.
func readable(net.Conn) bool { return false }

// peekable says so.
func peekable(net.Conn) bool { return false }

// lingerNot knows no other sockets than those of package net here.
func lingerNot(net.Conn) bool { return false }
