package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

func encode(t testing.TB, commands ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, c := range commands {
		if err := resp3.Marshal(&b, strings.Fields(c), resp.NewOpts()); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestClasses(t *testing.T) {
	const (
		private = wire.Private
		writes  = wire.Writes
		unknown = wire.Unknown | private | writes | wire.Dirty | wire.Blocks
	)
	for _, c := range []struct {
		commands []string
		want     wire.Class
	}{
		{[]string{"GET a"}, 0},
		{[]string{"get a"}, 0},
		{[]string{"SET a 1"}, writes},
		{[]string{"GEORADIUSBYMEMBER_RO a"}, 0},
		{[]string{"NOSUCHCOMMANDTHATISVERYLONGINDEED a"}, unknown},
		{[]string{"JSON.GET a"}, unknown},
		{[]string{"GETS a"}, unknown},
		{[]string{"SET a 1", "bf.add a 1"}, unknown},
		{[]string{"EVAL x 0"}, writes},
		{[]string{"GET a", "SET a 1"}, writes},
		{[]string{"select 1"}, private | wire.Dirty},
		{[]string{"GET a", "CLIENT SETNAME x"}, private | wire.Dirty},
		{[]string{"BLPOP a 1"}, private | writes | wire.Blocks},
		{[]string{"XREAD COUNT 1 STREAMS a 0"}, 0},
		{[]string{"XREAD block 100 STREAMS a 0"}, private | wire.Blocks},
		{[]string{"XREADGROUP GROUP g c BLOCK 100 STREAMS a 0"}, private | writes | wire.Blocks},
		{[]string{"SCRIPT LOAD x"}, writes},
		{[]string{"SCRIPT DEBUG yes"}, private | writes | wire.Dirty},
		{[]string{"MULTI"}, private | writes | wire.Begins},
		{[]string{"MULTI", "SET a 1", "EXEC"}, private | writes | wire.Ends},
		{[]string{"WATCH a", "GET a"}, private | wire.Watches},
		{[]string{"WATCH a", "UNWATCH"}, private | wire.Unwatches},
		{[]string{"WATCH a", "MULTI", "EXEC"}, private | writes | wire.Ends},
		{[]string{"DISCARD", "MULTI"}, private | writes | wire.Ends | wire.Begins},
		{[]string{"script kill"}, writes | wire.Rescues},
		{[]string{"FUNCTION KILL"}, writes | wire.Rescues},
		{[]string{"FUNCTION LIST"}, writes},
		{[]string{"HELLO"}, private | wire.Dirty},
		{[]string{"HELLO 3 SETNAME x"}, private | wire.Dirty | wire.Switches},
		{[]string{"WAIT 1 0"}, private | wire.Blocks | wire.Waits},
		{[]string{"SET a 1", "WAITAOF 1 0 0"}, private | writes | wire.Blocks},
		{[]string{"GET a", "WAIT 1 0", "SET a 1"}, private | writes | wire.Blocks | wire.Waits},
		{[]string{"SUBSCRIBE a"}, private | wire.Dirty | wire.Pushed},
		{[]string{"MONITOR"}, private | wire.Dirty},
		{[]string{"REPLCONF listening-port 1"}, private | wire.Dirty},
		{[]string{"replconf ack 0"}, private | wire.Dirty | wire.Unmatched},
		{[]string{"GET a", "RePlConf GETACK *"}, private | wire.Dirty | wire.Unmatched},
		{[]string{"CLIENT REPLY ON"}, private | wire.Dirty},
		{[]string{"client reply Skip"}, private | wire.Dirty | wire.Unmatched},
		{[]string{"CLIENT REPLY OFF"}, private | wire.Dirty | wire.Unmatched},
		{[]string{"DEBUG PROTOCOL push"}, private | writes | wire.Dirty | wire.Unmatched},
		{[]string{"DEBUG PROTOCOL attrib"}, private | writes | wire.Dirty},
		{[]string{"CLUSTER SYNCSLOTS ACK"}, writes | wire.Unmatched},
		{[]string{"CLUSTER INFO"}, writes},
		{[]string{"FLUSHALL"}, private | writes | wire.Blocks},
	} {
		n, class, err := (wire.Known{}).Inspect(encode(t, c.commands...))
		if err != nil || n != len(c.commands) || class != c.want {
			t.Errorf("Inspect(%q) = %d, %b, %v; want %d, %b", c.commands, n, class, err, len(c.commands), c.want)
		}
	}
}

func TestKnownCommandsOfModules(t *testing.T) {
	known := wire.Know([]string{"bf.add", "JSON.*"})
	for command, want := range map[string]wire.Class{
		"BF.ADD a 1": wire.Writes, "json.get a": wire.Writes, "JSON.SET a . 1": wire.Writes, "GET a": 0, "BLPOP a 1": wire.Private | wire.Writes | wire.Blocks,
		"BF.ADDED a": wire.Unknown | wire.Private | wire.Writes | wire.Dirty | wire.Blocks,
	} {
		if _, class, err := known.Inspect(encode(t, command)); class != want || err != nil {
			t.Errorf("Inspect(%q) = %b, %v; want %b", command, class, err, want)
		}
	}
}

func TestWhatIsNoCommandIsRefused(t *testing.T) {
	for _, bad := range []string{
		"PING\r\n", "*0\r\n", "*1\r\n:1\r\n", "*1\r\n$4\r\nPIN", "*2\r\n$3\r\nGET\r\n", "*1\r\n$-1\r\n", "*x\r\n", "*1\n$1\na\n", "*1\r\n$9999999999999999999\r\n",
	} {
		if n, _, err := (wire.Known{}).Inspect([]byte(bad)); !errors.Is(err, wire.ErrNotCommand) {
			t.Errorf("Inspect(%q) = %d, %v; want ErrNotCommand", bad, n, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(encode(f, "GET a", "XREAD BLOCK 1 STREAMS a 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, _, err := (wire.Known{}).Inspect(b)
		if err == nil && n == 0 && len(b) > 0 {
			t.Fatalf("no command in %q, and no error", b)
		}
	})
}
