package wire_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// soakTime is how long a stress test runs: a moment, or ten minutes with HOLDFAST_SOAK=1.
func soakTime() time.Duration {
	if os.Getenv("HOLDFAST_SOAK") == "1" {
		return 10 * time.Minute
	}
	return time.Second
}

// crumbs is a connection that is read in pieces of random sizes.
type crumbs struct{ net.Conn }

func (c crumbs) Read(b []byte) (int, error) {
	if rand.IntN(2) == 0 {
		b = b[:min(len(b), 1+rand.IntN(20))]
	}
	return c.Conn.Read(b)
}

// chatter answers ECHO, now and then late, and says things in between that nobody has asked for.
func chatter(args []string) string {
	text := bulk(args[len(args)-1])
	switch rand.IntN(8) {
	case 0:
		text = ">2\r\n+invalidate\r\n*1\r\n" + bulk(args[1]) + text
	case 1:
		text = "|1\r\n+ttl\r\n:3\r\n" + text
	case 2:
		text += ">1\r\n+pushed\r\n"
	case 3:
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
	return text
}

// Callers that give up at any moment, replies in pieces and connections that end between them leave
// nobody with another's reply.
func TestMismatchOnAConnection(t *testing.T) {
	var present atomic.Pointer[wire.Conn]
	var connections sync.WaitGroup
	calls := &wire.Calls{}
	connect := func() {
		client, server := net.Pipe()
		connections.Go(func() { serve(server, chatter) })
		present.Store(wire.NewConn(crumbs{client}, wire.Options{Epoch: time.Now(), Calls: calls, Go: connections.Go}))
	}
	connect()
	until := time.Now().Add(soakTime())
	var callers sync.WaitGroup
	var right atomic.Int64
	going := func() bool {
		return !t.Failed() && (time.Now().Before(until) || right.Load() < 100 && time.Since(until) < 30*time.Second)
	}
	for g := range 64 {
		callers.Go(func() {
			for i := 0; going(); i++ {
				limit := time.Duration(rand.IntN(2000)) * time.Microsecond
				if rand.IntN(4) == 0 {
					limit = time.Duration(rand.IntN(60)) * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				if rand.IntN(3) == 0 {
					cancel()
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(limit, cancel)
				}
				want := fmt.Sprintf("%d-%d %s", g, i, strings.Repeat("x", rand.IntN(200)))
				got := make([]byte, 0, 300) // as a caller does that uses its memory again
				if err := present.Load().Do(ctx, radix.Cmd(&got, "ECHO", want)); err == nil {
					if right.Add(1); string(got) != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
				cancel()
			}
		})
	}
	for going() {
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		old := present.Load()
		connect()
		_ = old.Close()
	}
	callers.Wait()
	_ = present.Load().Close()
	connections.Wait()
	t.Logf("%d answers", right.Load())
}
