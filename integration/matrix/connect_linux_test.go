package matrix_test

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// fillUp leaves no room for connections that nobody accepts: the system drops what asks for more,
// as a firewall does. It returns the connections that took the room.
func fillUp(t *testing.T, at net.Listener) (taken []net.Conn) {
	t.Helper()
	raw, err := at.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.DialTimeout("tcp", at.Addr().String(), 200*time.Millisecond)
		if err != nil {
			return taken
		}
		taken = append(taken, c)
	}
}

// exhaust has this process open no more files than there are; the function ends that.
func exhaust(t *testing.T) func() {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
}
