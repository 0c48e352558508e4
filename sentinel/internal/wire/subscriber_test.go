package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

func TestHandshakeFailsWithTheFirstErrorReply(t *testing.T) {
	conn, _ := dial(t, func(args []string) string {
		if args[0] == "AUTH" {
			return "-WRONGPASS no\r\n"
		}
		return "+OK\r\n"
	})
	err := wire.Greet(t.Context(), conn, wire.Greeting{Required: [][]string{{"PING"}, {"AUTH", "secret"}, {"SELECT", "1"}}})
	if simple := (resp3.SimpleError{}); !errors.As(err, &simple) || err.Error() != "AUTH: WRONGPASS no" {
		t.Errorf("%v", err)
	}
}

// A push between two replies was taken for one of them. The last reply then waited on the
// connection for the first call.
func TestHandshakeMatchesItsReplies(t *testing.T) {
	const ok, push = "+OK\r\n", ">2\r\n$10\r\ninvalidate\r\n*0\r\n"
	for _, x := range []struct {
		ping, selection string
		fits            bool
	}{
		{ok, ok, true}, {ok + push, ok, true}, {push + ok, push + push + ok, true}, {ok, ok + ok, false}, {ok, ok + "$", false},
	} {
		conn, _ := dial(t, func(args []string) string {
			return map[string]string{"PING": x.ping, "SELECT": x.selection, "GET": "+value\r\n"}[args[0]]
		})
		err := wire.Greet(t.Context(), conn, wire.Greeting{Required: [][]string{{"PING"}, {"SELECT", "1"}}})
		if !x.fits && !errors.Is(err, wire.ErrBadReply) || x.fits && err != nil {
			t.Errorf("%+v: %v", x, err)
		}
		if !x.fits {
			continue
		}
		c := wire.NewConn(conn, wire.Options{Epoch: time.Now().Add(-time.Second), Calls: new(wire.Calls), Go: func(f func()) { go f() }})
		var got string
		if err := c.Do(t.Context(), radix.Cmd(&got, "GET", "a")); err != nil || got != "value" {
			t.Errorf("after %+v: %q, %v", x, got, err)
		}
		_ = c.Close()
	}
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := dial(t, func([]string) string { return "" })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := wire.Greet(ctx, conn, wire.Greeting{Required: [][]string{{"PING"}}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func confirmation(kind, name string) string {
	return "*3\r\n" + bulk(kind) + bulk(name) + ":1\r\n"
}

func message(channel, payload string) string {
	return "*3\r\n" + bulk("message") + bulk(channel) + bulk(payload)
}

func TestMessagesArriveInOrder(t *testing.T) {
	early := message("a", "between the confirmations")
	conn, server := dial(t, func(args []string) string {
		switch args[0] {
		case "SUBSCRIBE":
			return confirmation("subscribe", "a") + early + confirmation("subscribe", "b")
		case "PSUBSCRIBE":
			return confirmation("psubscribe", "c*")
		}
		return ""
	})
	s, err := wire.Subscribe(t.Context(), conn, time.Minute, 1<<20, []string{"a", "b"}, []string{"c*"})
	if err != nil {
		t.Fatal(err)
	}
	rest := message("b", "2") + ">4\r\n" + bulk("pmessage") + bulk("c*") + bulk("cc") + bulk("3")
	go func() { _, _ = io.WriteString(server, rest) }()
	for _, want := range []wire.Message{
		{Channel: "a", Payload: []byte("between the confirmations")},
		{Channel: "b", Payload: []byte("2")},
		{Channel: "cc", Pattern: "c*", Payload: []byte("3")},
	} {
		if got, err := s.Next(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

func TestASubscriptionIsRefused(t *testing.T) {
	conn, _ := dial(t, func([]string) string { return "-NOPERM no access to the channel\r\n" })
	if _, err := wire.Subscribe(t.Context(), conn, time.Minute, 1<<20, []string{"a"}, nil); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("%v", err)
	}
}

// A subscription to a server that has died without a word must not wait for ever.
func TestASilentServerIsAskedForASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pings atomic.Int32
		var dead atomic.Bool
		conn, server := dial(t, func(args []string) string {
			switch {
			case args[0] == "SUBSCRIBE":
				return confirmation("subscribe", "a")
			case dead.Load():
				return ""
			}
			pings.Add(1)
			return "*2\r\n" + bulk("pong") + bulk("")
		})
		s, err := wire.Subscribe(t.Context(), conn, time.Second, 1<<20, []string{"a"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10500*time.Millisecond, func() { _, _ = io.WriteString(server, message("a", "1")) })
		time.AfterFunc(11*time.Second, func() { dead.Store(true) })
		began := time.Now()
		if m, err := s.Next(); err != nil || string(m.Payload) != "1" {
			t.Errorf("%+v, %v", m, err)
		}
		if n := pings.Load(); n < 5 {
			t.Errorf("asked %d times in 10 s of silence", n)
		}
		if _, err := s.Next(); err == nil {
			t.Error("a dead server ended nothing")
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("found after %v", took)
		}
	})
}
