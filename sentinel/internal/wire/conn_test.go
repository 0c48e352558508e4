package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

func get(ctx context.Context, c *wire.Conn, key string) (string, error) {
	var value string
	err := c.Do(ctx, radix.Cmd(&value, "GET", key))
	return value, err
}

func TestManyCallersGetTheirOwnReplies(t *testing.T) {
	r := start(t, echo)
	var callers sync.WaitGroup
	for g := range 50 {
		callers.Go(func() {
			for i := range 200 {
				key := fmt.Sprintf("%d-%d", g, i)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if got, err := get(ctx, r.conn, key); got != key || err != nil {
					t.Errorf("Get(%q) = %q, %v", key, got, err)
				}
				cancel()
			}
		})
	}
	callers.Wait()
}

// The lone caller reads its own replies after the first tick; nothing may be lost when others join
// and leave.
func TestTheReaderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, echo)
		for round := range 20 {
			for range 10 { // alone: the role goes to the caller
				if got, err := get(t.Context(), r.conn, "alone"); got != "alone" || err != nil {
					t.Fatalf("round %d: %q, %v", round, got, err)
				}
				time.Sleep(3 * time.Millisecond)
			}
			var callers sync.WaitGroup
			for g := range 5 {
				callers.Go(func() {
					key := fmt.Sprint(g)
					for range 20 {
						if got, err := get(t.Context(), r.conn, key); got != key || err != nil {
							t.Errorf("round %d: Get(%q) = %q, %v", round, key, got, err)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			callers.Wait()
			time.Sleep(time.Duration(round) * 5 * time.Millisecond) // idle: the role goes back to the goroutine
		}
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	for name, warm := range map[string]int{"read by the goroutine": 0, "read by the caller": 30} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mute atomic.Bool
				var held []string
				r := start(t, func(args []string) string {
					if mute.Load() {
						held = append(held, args[1])
						return ""
					}
					late := ""
					for _, key := range held {
						late += bulk(key)
					}
					held = nil
					return late + echo(args)
				})
				for range warm {
					if _, err := get(t.Context(), r.conn, "warm"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Millisecond)
				}
				mute.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				began := time.Now()
				var late string
				err := r.conn.Do(ctx, radix.Cmd(&late, "GET", "late"))
				var f *wire.Failure
				if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &f) || !f.Sent {
					t.Errorf("at a hung server: %v", err)
				}
				if took := time.Since(began); took < 100*time.Millisecond || took > 120*time.Millisecond {
					t.Errorf("a context of 100 ms ended after %v", took)
				}

				canceled, cancel := context.WithCancel(t.Context())
				time.AfterFunc(50*time.Millisecond, cancel)
				began = time.Now()
				if _, err := get(canceled, r.conn, "canceled"); !errors.Is(err, context.Canceled) {
					t.Errorf("canceled: %v", err)
				}
				if took := time.Since(began); took > 70*time.Millisecond {
					t.Errorf("a context canceled after 50 ms ended after %v", took)
				}

				mute.Store(false)
				if got, err := get(t.Context(), r.conn, "next"); got != "next" || err != nil {
					t.Errorf("the next call got %q, %v", got, err)
				}
				if late != "" {
					t.Errorf("the late reply %q was written to a caller that had gone", late)
				}
			})
		})
	}
}

func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	r := start(t, func([]string) string { t.Error("something was sent"); return "+OK\r\n" })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := get(ctx, r.conn, "a")
	var f *wire.Failure
	if !errors.As(err, &f) || f.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestTheEndOfTheConnectionEndsItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func([]string) string { return "" })
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				_, err := get(context.Background(), r.conn, "a")
				var f *wire.Failure
				if !errors.As(err, &f) || !f.Sent || f.Unused {
					t.Errorf("%v", err)
				}
			})
		}
		synctest.Wait()
		_ = r.server.Close()
		callers.Wait()
		if err := <-r.ended; err == nil {
			t.Error("OnEnd was told no reason")
		}
		_, err := get(t.Context(), r.conn, "a")
		var f *wire.Failure
		if !errors.As(err, &f) || f.Sent || !f.Unused {
			t.Errorf("after the end: %v", err)
		}
		if r.conn.Err() == nil {
			t.Error("Err() is nil")
		}
	})
}

func TestPipelinesAreAnsweredAsAWhole(t *testing.T) {
	r := start(t, func(args []string) string {
		if args[0] == "FAIL" {
			return "-READONLY no\r\n"
		}
		return echo(args)
	})
	var a, b string
	p := radix.NewPipeline()
	p.Append(radix.Cmd(&a, "GET", "a"))
	p.Append(radix.Cmd(nil, "FAIL"))
	p.Append(radix.Cmd(&b, "GET", "b"))
	err := r.conn.Do(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "READONLY") || a != "a" || b != "b" {
		t.Errorf("%q, %q, %v", a, b, err)
	}
	if alarm := <-r.alarms; alarm != wire.AlarmReadonly {
		t.Errorf("alarm %v", alarm)
	}
	long := radix.NewPipeline()
	got := make([]string, 5000)
	for i := range got {
		long.Append(radix.Cmd(&got[i], "GET", fmt.Sprint(i)))
	}
	if err := r.conn.Do(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != fmt.Sprint(i) {
			t.Fatalf("reply %d is %q", i, got[i])
		}
	}
}

func TestLargeValuesGrowTheBuffer(t *testing.T) {
	large := strings.Repeat("x", 3<<20)
	r := start(t, func(args []string) string {
		if args[0] == "SET" {
			return fmt.Sprintf(":%d\r\n", len(args[2]))
		}
		return bulk(large)
	})
	var n int
	if err := r.conn.Do(t.Context(), radix.Cmd(&n, "SET", "a", large)); err != nil || n != len(large) {
		t.Errorf("SET arrived with %d bytes, %v", n, err)
	}
	for range 3 {
		if got, err := get(t.Context(), r.conn, "a"); got != large || err != nil {
			t.Errorf("GET brought %d bytes, %v", len(got), err)
		}
	}
}

func TestRepliesThatNobodyAskedFor(t *testing.T) {
	r := start(t, func(args []string) string {
		switch args[0] {
		case "GET":
			return ">2\r\n+invalidate\r\n*1\r\n+x\r\n" + bulk(args[1]) + ">1\r\n+pushed\r\n"
		default:
			return "+OK\r\n+OK\r\n"
		}
	})
	for range 3 { // pushes are passed over
		if got, err := get(t.Context(), r.conn, "a"); got != "a" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	_ = r.conn.Do(t.Context(), radix.Cmd(nil, "PING"))
	<-r.conn.Gone() // a surplus reply would shift all later ones
	if !errors.Is(r.conn.Err(), wire.ErrBadReply) {
		t.Errorf("a surplus reply: %v", r.conn.Err())
	}
}

// bomb panics when it is decoded.
type bomb struct{}

func (bomb) UnmarshalRESP(resp.BufferedReader, *resp.Opts) error { panic("boom") }

func TestAReceiverThatPanicsHarmsItselfOnly(t *testing.T) {
	r := start(t, echo)
	if err := r.conn.Do(t.Context(), radix.Cmd(bomb{}, "GET", "a")); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("%v", err)
	}
	var n int
	if err := r.conn.Do(t.Context(), radix.Cmd(&n, "GET", "not a number")); err == nil {
		t.Error("a string was decoded into an int")
	}
	if got, err := get(t.Context(), r.conn, "b"); got != "b" || err != nil {
		t.Errorf("the next call got %q, %v", got, err)
	}
}

func TestFenceAndRetire(t *testing.T) {
	r := start(t, echo)
	set := func() error { return r.conn.Do(t.Context(), radix.Cmd(nil, "SET", "a", "1")) }
	if err := set(); err != nil {
		t.Fatal(err)
	}
	r.conn.Fence()
	if err := set(); !errors.Is(err, wire.ErrFenced) {
		t.Errorf("a write behind the fence: %v", err)
	}
	if got, err := get(t.Context(), r.conn, "b"); got != "b" || err != nil {
		t.Errorf("a read behind the fence: %q, %v", got, err)
	}
	r.conn.Unfence()
	if err := set(); err != nil {
		t.Error(err)
	}
	r.conn.Retire()
	if err := set(); !errors.Is(err, wire.ErrRetired) {
		t.Errorf("after Retire: %v", err)
	}
	<-r.conn.Gone()
}

func TestRetireWaitsForTheCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		r := start(t, func(args []string) string {
			<-answer
			return echo(args)
		})
		var caller sync.WaitGroup
		caller.Go(func() {
			if got, err := get(t.Context(), r.conn, "a"); got != "a" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
		synctest.Wait()
		r.conn.Retire()
		synctest.Wait()
		if r.conn.Err() != nil {
			t.Errorf("ended with a call under way: %v", r.conn.Err())
		}
		close(answer)
		caller.Wait()
		<-r.conn.Gone()
	})
}

// A server that does not read must not hold callers beyond their contexts, nor take all memory.
func TestCallersWaitForRoom(t *testing.T) {
	const callersInAll = 8
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := start(t, func(args []string) string {
			<-release
			return "+OK\r\n"
		})
		value := bytes.Repeat([]byte("x"), 3<<20) // one is being written, five are queued, and the others wait
		var callers sync.WaitGroup
		var timeouts atomic.Int32
		for range callersInAll {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				if err := r.conn.Do(ctx, radix.FlatCmd(nil, "SET", "a", value)); errors.Is(err, context.DeadlineExceeded) {
					timeouts.Add(1)
				}
			})
		}
		began := time.Now()
		callers.Wait()
		if took := time.Since(began); took > 250*time.Millisecond || timeouts.Load() != callersInAll {
			t.Errorf("%d of %d callers timed out, after %v", timeouts.Load(), callersInAll, took)
		}
		close(release)
	})
}

// The replies may be there before anybody comes for them, and even before the call that sent the
// request has returned.
func TestSendWithoutReplyAndReplyWithoutSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, echo)
		for round, wait := range []func(){func() {}, synctest.Wait, func() { time.Sleep(50 * time.Millisecond) }} {
			for _, key := range []string{"a", "b"} {
				if err := r.conn.EncodeDecode(t.Context(), []string{"GET", key}, nil); err != nil {
					t.Fatal(err)
				}
			}
			wait()
			for _, key := range []string{"a", "b"} {
				var got string
				if err := r.conn.EncodeDecode(t.Context(), nil, &got); got != key || err != nil {
					t.Errorf("round %d: %q, %v; want %q", round, got, err, key)
				}
			}
		}
		if got, err := get(t.Context(), r.conn, "c"); got != "c" || err != nil {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	})
}

// The read buffer grows, and its content moves, while it holds replies that nobody has come for.
func TestRepliesLargerThanTheReadBufferAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, echo)
		key := func(i int) string { return strings.Repeat(string(rune('a'+i)), 10000) }
		next := 0
		receive := func(replies int) {
			for range replies {
				synctest.Wait()
				var got string
				if err := r.conn.EncodeDecode(t.Context(), nil, &got); got != key(next) || err != nil {
					t.Fatalf("reply %d: %.20q…, %v", next, got, err)
				}
				next++
			}
		}
		for i := range 20 {
			if err := r.conn.EncodeDecode(t.Context(), []string{"GET", key(i)}, nil); err != nil {
				t.Fatal(err)
			}
			if i == 5 {
				receive(2)
			}
		}
		receive(18)
	})
}
