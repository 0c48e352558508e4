package wire_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// A connection without a buffer, such as a net.Pipe, to a server that reads and writes in turn:
// the reader of replies must not wait for the server to read, as that waits for its reply to be
// read.
func TestTheReaderDoesNotWaitForTheServerToRead(t *testing.T) {
	client, server := net.Pipe()
	var workers sync.WaitGroup
	conn := wire.NewConn(client, wire.Options{Epoch: time.Now().Add(-time.Second), Calls: &wire.Calls{}, Go: workers.Go})
	t.Cleanup(func() {
		_ = conn.Close()
		_ = server.Close()
		workers.Wait()
	})
	workers.Go(func() { answerInTurn(server) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 200 {
				var got string
				if err := conn.Do(ctx, radix.Cmd(&got, "GET", "k")); err != nil || got != "k" {
					t.Errorf("got %q, %v", got, err)
					return
				}
			}
		})
	}
	callers.Wait()
}

// answerInTurn reads what has come, and writes the replies to it, two at a time.
func answerInTurn(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		if _, err := in.Peek(1); err != nil {
			return
		}
		n := 0
		for n < 2 && (n == 0 || in.Buffered() > 0) {
			if _, err := readCommand(in); err != nil {
				return
			}
			n++
		}
		if _, err := io.WriteString(conn, strings.Repeat(bulk("k"), n)); err != nil {
			return
		}
	}
}
