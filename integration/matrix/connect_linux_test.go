package matrix_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// limitMemory has a server be given no more memory by the system than it has.
func limitMemory(t *testing.T, server any) {
	t.Helper()
	pid := server.(interface{ PID() int }).PID()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size uint64 // of what may be written; what is only reserved does not count
	_, rest, _ := strings.Cut(string(text), "\nVmData:")
	if _, err := fmt.Sscanf(rest, "%d kB", &size); err != nil {
		t.Fatal(err)
	}
	size <<= 10
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: size, Max: size}, nil); err != nil {
		t.Fatal(err)
	}
}
