package wire_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// A surplus reply that arrived in two parts was the answer to the next call.
func TestTheBeginningOfASurplusReplyEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(args []string) string { return echo(args) + "+sur" })
		if got, err := get(t.Context(), r.conn, "a"); got != "a" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if !errors.Is(r.conn.Err(), wire.ErrBadReply) {
			t.Errorf("the connection goes on: %v", r.conn.Err())
		}
	})
}

// Below TLS a connection is reset as well, and nothing that was written is sent once the network
// heals.
func TestWhatIsWrappedIsResetToo(t *testing.T) {
	inner := &resettable{}
	client, server := net.Pipe()
	defer server.Close()
	inner.Conn = client
	calls := &wire.Calls{}
	var workers sync.WaitGroup
	c := wire.NewConn(wrapped{Conn: inner, inner: inner}, wire.Options{Epoch: time.Now(), Calls: calls, Go: workers.Go})
	_ = c.Close()
	workers.Wait()
	if got := strings.Join(inner.done, ", "); got != "linger 0, close" {
		t.Errorf("what is wrapped was told %q", got)
	}
}

// resettable is a connection that notes what it is told.
type resettable struct {
	net.Conn
	done []string
}

func (r *resettable) SetLinger(sec int) error {
	r.done = append(r.done, fmt.Sprint("linger ", sec))
	return nil
}

func (r *resettable) Close() error {
	if len(r.done) < 2 {
		r.done = append(r.done, "close")
	}
	return r.Conn.Close()
}

// wrapped hides it, as TLS does.
type wrapped struct {
	net.Conn
	inner net.Conn
}

func (w wrapped) NetConn() net.Conn { return w.inner }
