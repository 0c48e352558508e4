package wire_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Calls that were given up keep their places until they are answered. A server that answered none
// of them took all memory.
func TestCallsThatWereGivenUpAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := start(t, func(args []string) string {
			<-release
			return echo(args)
		})
		const bound = 10_000
		var sent, notSent atomic.Int32
		for range 12 {
			var callers sync.WaitGroup
			for range 1000 {
				callers.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
					defer cancel()
					_, err := get(ctx, r.conn, "a")
					var f *wire.Failure
					switch {
					case !errors.As(err, &f):
						t.Errorf("%v", err)
					case f.Sent:
						sent.Add(1)
					default:
						notSent.Add(1)
					}
				})
			}
			callers.Wait()
			if n := r.conn.InFlight(); n > bound {
				t.Fatalf("%d calls are kept", n)
			}
		}
		if sent.Load() != bound || notSent.Load() != 2000 {
			t.Errorf("%d were sent, %d were not", sent.Load(), notSent.Load())
		}
		close(release)
		if got, err := get(t.Context(), r.conn, "b"); got != "b" || err != nil {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	})
}

// lonely is a connection whose server answers nothing, and is heard elsewhere every 50 ms.
func lonely(t *testing.T, answer func(args []string) string) *rig {
	witness := new(atomic.Int64)
	epoch := time.Now().Add(-time.Second)
	r := startWith(t, wire.Options{Epoch: epoch, Silence: 300 * time.Millisecond, Witness: witness}, answer)
	r.workers.Go(func() {
		for r.conn.Err() == nil {
			witness.Store(int64(time.Since(epoch)))
			time.Sleep(50 * time.Millisecond)
		}
	})
	return r
}

func TestASilentConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := lonely(t, func([]string) string { return "" })
		time.Sleep(time.Minute) // idle: nothing is owed
		began := time.Now()
		_, err := get(context.Background(), r.conn, "a")
		if took := time.Since(began); !errors.Is(err, wire.ErrStuck) || took < 300*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// Whatever is on its way, or may take its time, ends nothing.
func TestWhatMayTakeLongEndsNoConnection(t *testing.T) {
	for what, play := range map[string]func(t *testing.T, c *wire.Conn) error{
		"a blocking command": func(t *testing.T, c *wire.Conn) error { return c.Do(t.Context(), radix.Cmd(nil, "BLPOP", "a", "0")) },
		"an unknown command": func(t *testing.T, c *wire.Conn) error { return c.Do(t.Context(), radix.Cmd(nil, "A.MODULES", "a")) },
		"its reply, later": func(t *testing.T, c *wire.Conn) error {
			if err := c.EncodeDecode(t.Context(), []string{"BLPOP", "a", "0"}, nil); err != nil {
				return err
			}
			return c.EncodeDecode(t.Context(), nil, new(string))
		},
		"a message": func(t *testing.T, c *wire.Conn) error { return c.EncodeDecode(t.Context(), nil, new(string)) },
		"a large request": func(t *testing.T, c *wire.Conn) error {
			return c.Do(t.Context(), radix.FlatCmd(nil, "SET", "a", make([]byte, 2<<20)))
		},
		"a slow receiver": func(t *testing.T, c *wire.Conn) error {
			go func() { _, _ = get(t.Context(), c, "a") }() // waits behind it, and is answered
			return c.Do(t.Context(), radix.Cmd(slowly{}, "GET", "b"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := lonely(t, func(args []string) string {
					if args[0] != "GET" {
						time.Sleep(1500 * time.Millisecond)
					}
					return echo(args)
				})
				if what == "a message" {
					time.AfterFunc(1500*time.Millisecond, func() { _, _ = r.server.Write([]byte("+x\r\n")) })
				}
				if err := play(t, r.conn); err != nil || r.conn.Err() != nil {
					t.Errorf("%v, %v", err, r.conn.Err())
				}
			})
		})
	}
}

// slowly is a receiver that takes its time.
type slowly struct{}

func (slowly) Write(b []byte) (int, error) {
	time.Sleep(time.Second)
	return len(b), nil
}
