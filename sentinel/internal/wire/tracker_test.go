package wire_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

func TestTrackReadsWhichKeysHaveChanged(t *testing.T) {
	var asked []string
	conn, server := dial(t, func(args []string) string {
		asked = append(asked, strings.Join(args, " "))
		if args[0] == "HELLO" {
			return "%1\r\n+proto\r\n:3\r\n"
		}
		return "+OK\r\n" + ">2\r\n" + bulk("invalidate") + "*1\r\n" + bulk("a:0")
	})
	s, err := wire.Track(t.Context(), conn, time.Minute, 1<<20, []string{"a:", "b:"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "[HELLO 3 CLIENT TRACKING ON BCAST PREFIX a: PREFIX b:]"; fmt.Sprint(asked) != want {
		t.Errorf("it asked %v, want %v", asked, want)
	}
	rest := ">2\r\n" + bulk("invalidate") + "*2\r\n" + bulk("a:1") + bulk("b:\x002") + "+PONG\r\n" + ">2\r\n" + bulk("invalidate") + "_\r\n"
	go func() { _, _ = io.WriteString(server, rest) }()
	for _, want := range []wire.Message{{Changed: []string{"a:0"}}, {Changed: []string{"a:1", "b:\x002"}}, {Flushed: true}} {
		if got, err := s.Next(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	go func() { _, _ = io.WriteString(server, ">2\r\n"+bulk("invalidate")+":5\r\n") }()
	if m, err := s.Next(); !errors.Is(err, wire.ErrBadReply) {
		t.Errorf("got %+v, %v for what is no list of keys", m, err)
	}
}

func TestTrackIsRefused(t *testing.T) {
	for _, first := range []string{"+OK\r\n", "-ERR unknown command 'HELLO'\r\n"} {
		conn, _ := dial(t, func(args []string) string {
			if args[0] == "HELLO" {
				return first
			}
			return "-NOPERM this user has no permissions to run the 'client|tracking' command\r\n"
		})
		if _, err := wire.Track(t.Context(), conn, time.Minute, 1<<20, []string{"a"}); err == nil {
			t.Errorf("%q: no error", first)
		}
	}
}
