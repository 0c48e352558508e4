package wire_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// forms are harmless ways to send what filled-up arguments would not carry out, or only late.
func forms() map[string][]string {
	return map[string][]string{
		"blpop":         {"BLPOP l 0.01"},
		"brpop":         {"BRPOP l 0.01"},
		"brpoplpush":    {"BRPOPLPUSH l m 0.01"},
		"blmove":        {"BLMOVE l m LEFT LEFT 0.01"},
		"blmpop":        {"BLMPOP 0.01 1 l LEFT"},
		"bzpopmin":      {"BZPOPMIN z 0.01"},
		"bzpopmax":      {"BZPOPMAX z 0.01"},
		"bzmpop":        {"BZMPOP 0.01 1 z MIN"},
		"wait":          {"WAIT 0 1"},
		"waitaof":       {"WAITAOF 0 0 1"},
		"xread":         {"XREAD STREAMS s 0", "XREAD BLOCK 10 STREAMS s 0"},
		"eval":          {"EVAL return{1,2} 0"},
		"eval_ro":       {"EVAL_RO return{1,2} 0"},
		"replicaof":     {"REPLICAOF NO ONE"},
		"slaveof":       {"SLAVEOF NO ONE"},
		"migrate":       {"MIGRATE 127.0.0.1 1 absent 0 10"},
		"subscribe":     {"SUBSCRIBE a b"},
		"psubscribe":    {"PSUBSCRIBE a* b*"},
		"ssubscribe":    {"SSUBSCRIBE a"},
		"unsubscribe":   {"UNSUBSCRIBE", "UNSUBSCRIBE a b"},
		"punsubscribe":  {"PUNSUBSCRIBE", "PUNSUBSCRIBE a b"},
		"sunsubscribe":  {"SUNSUBSCRIBE"},
		"replconf":      {"REPLCONF ACK 0", "replconf getack *", "REPLCONF listening-port 1", "REPLCONF capa eof ACK 0"},
		"client|reply":  {"CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY ON"},
		"client|pause":  {"CLIENT PAUSE 1"},
		"script|debug":  {"SCRIPT DEBUG NO"},
		"debug":         {"DEBUG PROTOCOL PUSH", "DEBUG PROTOCOL ATTRIB", "DEBUG PROTOCOL MAP", "DEBUG SLEEP 0", "DEBUG JMAP"},
		"hello":         {"HELLO", "HELLO 3"},
		"shutdown":      {"SHUTDOWN ABORT"},
		"pfselftest":    nil, // takes seconds
		"function|load": {"FUNCTION LOAD REPLACE x"},
	}
}

// described is one command of COMMAND.
type described struct {
	name       string // or name|subcommand
	arity, key int
}

func describe(t *testing.T, reply any) (all []described) {
	t.Helper()
	entries, _ := reply.([]any)
	for _, entry := range entries {
		fields, _ := entry.([]any)
		d := described{name: fmt.Sprint(fields[0])}
		arity, _ := fields[1].(int64)
		key, _ := fields[3].(int64)
		d.arity, d.key = int(arity), int(key)
		if subs := describe(t, fields[9]); len(subs) > 0 {
			all = append(all, subs...)
			continue
		}
		all = append(all, d)
	}
	return all
}

// sample is a command with as many arguments as it needs, and a key of its own.
func (d described) sample() string {
	words := strings.Split(strings.ToUpper(d.name), "|")
	for len(words) < max(d.arity, -d.arity) {
		if len(words) == d.key {
			words = append(words, "key:"+d.name)
			continue
		}
		words = append(words, "1")
	}
	return strings.Join(words, " ")
}

// repliesTo sends a command and a mark, and counts the replies before that of the mark; answered is
// false if that did not come.
func repliesTo(t *testing.T, addr, protocol, command string, limit time.Duration) (replies int, answered bool) {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := redis.NewConn(raw)
	defer conn.Close()
	if _, err := conn.Do(t.Context(), "HELLO", protocol); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.SetDeadline(time.Now().Add(limit)), conn.Send(strings.Fields(command)...), conn.Send("ECHO", "the-mark")); err != nil {
		t.Fatal(err)
	}
	for {
		reply, err := conn.Receive()
		var refused redis.ReplyError
		switch _, push := reply.(redis.Push); {
		case err != nil && !errors.As(err, &refused):
			return replies, false
		case reply == "the-mark":
			return replies, true
		case !push:
			replies++
		}
	}
}

// awaitIdle waits until the server saves nothing: until then it does not answer a replica that
// begins, and closes its connection, as the mark asks for a reply.
func awaitIdle(t *testing.T, server *redis.Server) {
	t.Helper()
	for range 1000 {
		info, err := server.Do(t.Context(), "INFO", "persistence")
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(info)
		if strings.Contains(text, "rdb_bgsave_in_progress:0") && strings.Contains(text, "aof_rewrite_in_progress:0") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Whatever a real server answers with other than one reply, or on a whim of the connection, must
// not share a connection.
func TestTheTableAgreesWithTheServer(t *testing.T) {
	server := redis.StartServer(t, redis.ServerOptions{Args: []string{"--enable-debug-command", "yes"}})
	reply, err := server.Do(t.Context(), "COMMAND")
	if err != nil {
		t.Fatal(err)
	}
	odd := 0
	for _, d := range describe(t, reply) {
		commands, ok := forms()[d.name]
		if !ok {
			commands = []string{d.sample()}
		}
		for _, command := range commands {
			n, class, err := (wire.Known{}).Inspect(encode(t, command))
			if err != nil || n != 1 || class&wire.Unknown != 0 {
				t.Errorf("Inspect(%q) = %d, %b, %v: the table lacks it", command, n, class, err)
			}
			limit := 10 * time.Second
			if class&(wire.Private|wire.Unmatched) != 0 {
				limit = 40 * time.Millisecond
			}
			for _, protocol := range []string{"2", "3"} {
				replies, answered := repliesTo(t, server.Addr(), protocol, command, limit)
				if replies == 1 && answered {
					continue
				}
				odd++
				if protocol == "3" { // only pushes, perhaps; the test does not read attributes
					if pushed := replies == 0 && strings.Contains(command, "SUBSCRIBE"); pushed != (class&wire.Pushed != 0) {
						t.Errorf("RESP3: %q has %d replies, Pushed: %v", command, replies, !pushed)
					}
					continue
				}
				unanswered := wire.Unmatched | wire.Blocks
				for limit := 2 * time.Second; replies == 0 && class&unanswered == 0 && limit < time.Minute; limit *= 2 { // the time may have been too short
					awaitIdle(t, server)
					replies, _ = repliesTo(t, server.Addr(), protocol, command, limit)
				}
				if class&wire.Private == 0 && class&wire.Unmatched == 0 {
					t.Errorf("RESP%s: %q has %d replies, the next command has one: %v; it must not share a connection", protocol, command, replies, answered)
				}
				if replies == 0 && class&unanswered == 0 {
					t.Errorf("%q has no reply and is not Unmatched", command)
				}
			}
		}
	}
	if odd < 20 {
		t.Errorf("only %d commands were answered in an odd way: the test is blind", odd)
	}
}
