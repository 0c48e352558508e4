package line_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A load of more than five minutes, during which nothing else was asked, was lost: its connection
// was taken for one at rest, although signs of life went out on it.
func TestALoadThatTakesLongKeepsItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, &local{get: func(ctx context.Context, _ string, loading func()) (wire.Answer, error) {
			loading()
			select {
			case <-time.After(20 * time.Minute):
				return wire.Answer{Value: "v"}, nil
			case <-ctx.Done():
				return wire.Answer{}, ctx.Err()
			}
		}})
		a, _, err := l.Get(t.Context(), wire.Question{Group: "g", Key: "k", Silence: 30 * time.Millisecond}, nil, nil)
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
		l := newLine(t, drip{client, 6 << 10}) // some six minutes
		answer(t, server, &local{find: func(string) (string, bool) { return strings.Repeat("x", maxValue/2), true }})
		if v, err := ask(t.Context(), l, "k"); err != nil || len(v) != maxValue/2 {
			t.Errorf("%d bytes, %v", len(v), err)
		}
	})
}

// Values that were set while others went out had to wait for their turn, and were given up
// meanwhile, although the peer took all that it was given: it was taken for down.
func TestValuesThatWaitForTheirTurnAreNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		l := newLine(t, client)
		answer(t, drip{server, 1 << 20}, &local{})
		value := strings.Repeat("x", 256<<10)
		begun := time.Now()
		var all sync.WaitGroup
		for range 24 {
			all.Go(func() {
				last, pause := time.Now(), time.Duration(0)
				alive := func() {
					pause = max(pause, time.Since(last))
					last = time.Now()
				}
				if err := l.Set(t.Context(), "g", "k", value, 0, nil, alive); err != nil {
					t.Error(err)
				}
				if alive(); pause > 500*time.Millisecond {
					t.Errorf("nothing was heard of it for %v", pause)
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took < 5*time.Second {
			t.Errorf("it has taken %v: none has waited", took)
		}
	})
}
