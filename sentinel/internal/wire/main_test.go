package wire_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a connection to a scripted server.
type rig struct {
	conn    *wire.Conn
	server  net.Conn
	calls   *wire.Calls
	workers sync.WaitGroup
	alarms  chan wire.Alarm
	ended   chan error
}

// start connects to a server that answers each command with what answer returns, which may be
// nothing.
func start(t *testing.T, answer func(args []string) string) *rig {
	t.Helper()
	return startWith(t, wire.Options{Epoch: time.Now().Add(-time.Second)}, answer)
}

func startWith(t *testing.T, o wire.Options, answer func(args []string) string) *rig {
	t.Helper()
	r := &rig{calls: &wire.Calls{}, alarms: make(chan wire.Alarm, 100), ended: make(chan error, 1)}
	var client net.Conn
	client, r.server = net.Pipe()
	o.Calls, o.Go = r.calls, r.workers.Go
	o.OnAlarm = func(a wire.Alarm) { r.alarms <- a }
	o.OnEnd = func(err error) { r.ended <- err }
	r.conn = wire.NewConn(client, o)
	r.workers.Go(func() { serve(r.server, answer) })
	t.Cleanup(func() {
		_ = r.conn.Close()
		_ = r.server.Close()
		r.workers.Wait()
	})
	return r
}

// dial connects to a scripted server, without a Conn.
func dial(t *testing.T, answer func(args []string) string) (client, server net.Conn) {
	t.Helper()
	client, server = net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() { serve(server, answer) })
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		serving.Wait()
	})
	return client, server
}

// serve answers until the connection ends. Commands are read ahead of the answers, as a socket
// does.
func serve(conn net.Conn, answer func(args []string) string) {
	commands := make(chan []string, 10000)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(commands)
		in := bufio.NewReader(conn)
		for {
			args, err := readCommand(in)
			if err != nil {
				return
			}
			commands <- args
		}
	})
	for args := range commands {
		if text := answer(args); text != "" {
			if _, err := io.WriteString(conn, text); err != nil {
				break
			}
		}
	}
	reading.Wait()
}

func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readNumber(in)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readNumber(in)
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func readNumber(in *bufio.Reader) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// echo answers GET with the key, and all else with OK.
func echo(args []string) string {
	if args[0] == "GET" {
		return bulk(args[1])
	}
	return "+OK\r\n"
}
