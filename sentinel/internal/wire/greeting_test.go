package wire_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// What may be refused is not required; but a server that turns the connection away does so with the
// first reply, whatever was asked.
func TestOptionalCommandsOfAGreetingMayBeRefused(t *testing.T) {
	for reply, fits := range map[string]bool{
		"+OK": true,
		"-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.":                            true,
		"-NOPERM User alice has no permissions to run the 'ping' command":                true,
		"-LOADING Redis is loading the dataset in memory":                                true,
		"-BUSY Valkey is busy running a script.":                                         true,
		"-ERR max number of clients reached":                                             false,
		"-ERR max number of clients + cluster connections reached":                       false,
		"-DENIED Valkey is running in protected mode because protected mode is enabled.": false,
	} {
		conn, _ := dial(t, func([]string) string { return reply + "\r\n" })
		err := wire.Greet(t.Context(), conn, wire.Greeting{Optional: [][]string{{"PING"}}})
		if (err == nil) != fits || !fits && !strings.Contains(err.Error(), reply[1:]) {
			t.Errorf("%s: %v", reply, err)
		}
	}
}

// The user's own code talks on the connection before anybody else does, and leaves nothing behind.
func TestAGreetingEndsWithTheUsersCode(t *testing.T) {
	answer := func(args []string) string {
		switch args[0] {
		case "GET":
			return "$5\r\nvalue\r\n"
		case "TWICE":
			return "+OK\r\n+OK\r\n"
		}
		return "+OK\r\n"
	}
	refused := errors.New("not this one")
	for what, x := range map[string]struct {
		do   func(context.Context, radix.Conn) error
		want error
	}{
		"one command": {func(ctx context.Context, conn radix.Conn) error {
			var got string
			err := conn.Do(ctx, radix.Cmd(&got, "GET", "a"))
			if got != "value" {
				return errors.Join(err, io.ErrUnexpectedEOF)
			}
			return err
		}, nil},
		"a pipeline": {func(ctx context.Context, conn radix.Conn) error {
			var got string
			p := radix.NewPipeline()
			p.Append(radix.Cmd(nil, "SET", "a", "1"))
			p.Append(radix.Cmd(&got, "GET", "a"))
			err := conn.Do(ctx, p)
			if got != "value" {
				return errors.Join(err, io.ErrUnexpectedEOF)
			}
			return err
		}, nil},
		"in two steps": {func(ctx context.Context, conn radix.Conn) error {
			return errors.Join(conn.EncodeDecode(ctx, []string{"PING"}, nil), nil)
		}, nil},
		"an error":     {func(context.Context, radix.Conn) error { return refused }, refused},
		"what is left": {func(ctx context.Context, conn radix.Conn) error { return conn.Do(ctx, radix.Cmd(nil, "TWICE")) }, wire.ErrBadReply},
		"no command":   {func(ctx context.Context, conn radix.Conn) error { return conn.EncodeDecode(ctx, 1, nil) }, wire.ErrNotCommand},
		"what is no call": {func(ctx context.Context, conn radix.Conn) error {
			return conn.EncodeDecode(ctx, []string{"SUBSCRIBE", "x"}, nil)
		}, wire.ErrUnmatched},
	} {
		conn, _ := dial(t, answer)
		err := wire.Greet(t.Context(), conn, wire.Greeting{
			Required: [][]string{{"SELECT", "1"}},
			Finally:  func(conn radix.Conn) error { return x.do(t.Context(), conn) },
		})
		if !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
	}
}
