package sockets_test

import (
	"net"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

// TestReadable: bytes that wait in the socket are seen, and stay there.
func TestReadable(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if sockets.Readable(client) {
		t.Error("Readable before anything was sent")
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !sockets.Readable(client); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the byte is not seen")
		}
	}
	var b [2]byte
	if n, err := client.Read(b[:]); n != 1 || err != nil || b[0] != 'x' {
		t.Errorf("Read after Readable = %d, %v, want the byte", n, err)
	}
}
