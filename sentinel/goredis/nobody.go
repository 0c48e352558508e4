package goredis

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// errNobody is part of what a connection to nobody returns.
var errNobody = errors.New("nobody could be dialled")

// nobody is a connection to nobody: what it returns is why nobody could be dialled.
type nobody struct{ err error }

var (
	_ net.Conn     = nobody{}
	_ syscall.Conn = nobody{}
)

// nobodyError is such an error.
type nobodyError struct{ error }

func (e nobodyError) Is(target error) bool { return target == errNobody }

func (e nobodyError) Unwrap() error { return e.error }

func (n nobody) Read([]byte) (int, error)  { return 0, nobodyError{n.err} }
func (n nobody) Write([]byte) (int, error) { return 0, nobodyError{n.err} }
func (n nobody) Close() error              { return nil }

func (n nobody) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (n nobody) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (n nobody) SetDeadline(time.Time) error      { return nil }
func (n nobody) SetReadDeadline(time.Time) error  { return nil }
func (n nobody) SetWriteDeadline(time.Time) error { return nil }

// SyscallConn fails, so that a pool that looks at its sockets does not keep this one.
func (n nobody) SyscallConn() (syscall.RawConn, error) { return nil, n.err }
