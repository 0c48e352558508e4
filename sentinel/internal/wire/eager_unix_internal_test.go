//go:build unix

package wire

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"
)

// sockets are the two ends of a connection over loopback.
func sockets(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dialled.Close()
		_ = accepted.Close()
	})
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// The system tells of a reset once. A look that finds it must not leave the next read with a mere
// end.
func TestALookTellsOfAReset(t *testing.T) {
	for range 20 {
		client, server := sockets(t)
		var workers sync.WaitGroup
		ended := make(chan error, 1)
		c := NewConn(client, Options{
			Epoch: time.Now().Add(-time.Second), Calls: &Calls{}, Go: workers.Go, OnEnd: func(err error) { ended <- err },
		})
		workers.Go(func() {
			_, _ = server.Read(make([]byte, 100))
			_, _ = server.Write([]byte("+PONG\r\n"))
			_ = server.SetLinger(0)
			_ = server.Close()
		})
		_ = c.Do(t.Context(), radix.Cmd(nil, "PING"))
		err := <-ended
		workers.Wait()
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the connection ended with %v, want a reset", err)
		}
	}
}

// In a test with synctest no time passes while anybody works: a look ends all the same.
func TestALookEndsWhereTheClockStandsStill(t *testing.T) {
	client, _ := sockets(t)
	var late atomic.Bool
	limit := time.AfterFunc(20*time.Second, func() {
		late.Store(true)
		_ = client.Close()
	})
	defer limit.Stop()
	synctest.Test(t, func(t *testing.T) {
		c := &Conn{options: Options{Epoch: time.Now()}, net: client, socket: newSocket(client)}
		if n, err := c.lookAhead(make([]byte, 100)); n != 0 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	if late.Load() {
		t.Error("it looks without end")
	}
}
