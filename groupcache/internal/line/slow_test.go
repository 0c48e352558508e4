package line_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

// A load of more than five minutes, during which nothing else was asked, was lost: its connection
// was taken for one at rest, although signs of life went out on it.
func TestALoadThatTakesLongKeepsItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, &local{get: func(ctx context.Context, _ string, loading func()) (peer.Answer, error) {
			loading()
			select {
			case <-time.After(20 * time.Minute):
				return peer.Answer{Value: "v"}, nil
			case <-ctx.Done():
				return peer.Answer{}, ctx.Err()
			}
		}})
		a, _, err := l.Get(t.Context(), peer.Question{Group: "g", Key: "k", Silence: 30 * time.Millisecond}, nil, nil)
		if err != nil || a.Value != "v" {
			t.Errorf("%q, %v", a.Value, err)
		}
	})
}

// drip is a connection that takes its time to read.
type drip struct {
	net.Conn
	rate int // bytes a second
}

// Read implements io.Reader.
func (d drip) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	time.Sleep(time.Duration(n) * time.Second / time.Duration(d.rate))
	return n, err
}

func TestAnAnswerThatIsLongOnItsWayKeepsItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		l := newLine(t, drip{client, 8 << 10}) // 8 minutes
		answer(t, server, &local{find: func(string) (string, bool) { return strings.Repeat("x", maxValue), true }})
		if v, err := ask(t.Context(), l, "k"); err != nil || len(v) != maxValue {
			t.Errorf("%d bytes, %v", len(v), err)
		}
	})
}
