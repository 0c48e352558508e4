//go:build !unix

package sockets

import "net"

// Readable cannot look into sockets here.
func Readable(net.Conn) bool { return false }

// Peekable says so.
func Peekable(net.Conn) bool { return false }

// lingerNot knows no other sockets than those of package net here.
func lingerNot(net.Conn) bool { return false }
