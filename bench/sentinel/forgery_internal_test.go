package main

import (
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// forgedPipe is a connection that has sent these commands; the client's end is returned.
func forgedPipe(t *testing.T, commands ...string) (*forged, net.Conn) {
	t.Helper()
	client, far := net.Pipe()
	t.Cleanup(func() { _, _ = client.Close(), far.Close() })
	c := &forged{client: far}
	for _, command := range commands {
		c.note(strings.Fields(command))
	}
	return c, client
}

func TestForgeryReachesThoseWhoSubscribed(t *testing.T) {
	lie := message{"+switch-master", "mymaster 127.0.0.1 1 127.0.0.1 2"}
	for _, c := range []struct {
		subscription string
		want         []string
	}{
		{"subscribe +sdown +switch-master", []string{"message", lie.channel, lie.payload}},
		{"PSUBSCRIBE *", []string{"pmessage", "*", lie.channel, lie.payload}},
	} {
		forger, client := forgedPipe(t, c.subscription)
		go forger.inject(lie)
		if got, err := redis.NewConn(client).Receive(); err != nil || !reflect.DeepEqual(texts(got), c.want) {
			t.Errorf("after %q the client got %v, %v, want %q", c.subscription, got, err, c.want)
		}
	}
}

func TestForgerySpeaksTheProtocolOfTheConnection(t *testing.T) {
	forger, client := forgedPipe(t, "HELLO 3", "SUBSCRIBE a")
	go forger.inject(message{"a", "b"})
	const want = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil || string(got) != want {
		t.Errorf("the client got %q, %v, want %q", got, err, want)
	}
}

func TestForgerySparesOthers(t *testing.T) {
	forger, client := forgedPipe(t, "SUBSCRIBE +sdown", "PSUBSCRIBE -*", "PING")
	if err := client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		forger.inject(message{"+switch-master", "x"})
		_ = forger.client.Close()
	}()
	if got, err := redis.NewConn(client).Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("the client got %v, %v, want nothing", got, err)
	}
}
