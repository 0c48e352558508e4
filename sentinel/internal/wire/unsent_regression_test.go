package wire_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// A call whose context ended while its request was queued, behind others that were being written,
// was said to be not sent. Its request went out with the next write, and was carried out.
func TestWhatIsNotSentIsNotWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		calls := &wire.Calls{}
		var workers sync.WaitGroup
		c := wire.NewConn(client, wire.Options{Epoch: time.Now().Add(-time.Second), Calls: calls, Go: workers.Go})
		set := func(ctx context.Context, key string) error {
			return c.Do(ctx, radix.Cmd(nil, "SET", key, strings.Repeat("x", 10)))
		}
		var callers sync.WaitGroup
		for _, key := range []string{"first", "second", "given up", "third", "given up, too"} {
			callers.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				gives := strings.HasPrefix(key, "given up")
				if gives {
					time.AfterFunc(50*time.Millisecond, cancel)
				}
				err := set(ctx, key)
				var f *wire.Failure
				if gives && (!errors.As(err, &f) || f.Sent || !errors.Is(err, context.Canceled)) {
					t.Errorf("%s, while another request is written: %v", key, err)
				}
				if !gives && err != nil {
					t.Errorf("%s: %v", key, err)
				}
			})
			synctest.Wait() // the first is written to a server that does not read; the others are queued
		}
		time.Sleep(200 * time.Millisecond)
		var got []string
		workers.Go(func() {
			in := bufio.NewReader(server)
			for {
				args, err := readCommand(in)
				if err != nil {
					return
				}
				got = append(got, args[1])
				if _, err := io.WriteString(server, "+OK\r\n"); err != nil {
					return
				}
			}
		})
		callers.Wait()
		if err := set(t.Context(), "last"); err != nil {
			t.Errorf("last: %v", err)
		}
		_ = c.Close()
		workers.Wait()
		if want := "first second third last"; strings.Join(got, " ") != want {
			t.Errorf("the server got %q, want %s", got, want)
		}
	})
}
