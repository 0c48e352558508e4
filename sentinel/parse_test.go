package sentinel_test

import (
	"net"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

func TestEventsAreParsed(t *testing.T) {
	for _, c := range []struct{ channel, payload, name, addr string }{
		{"+switch-master", "mymaster 127.0.0.1 6379 127.0.0.2 6380", "mymaster", "127.0.0.2:6380"},
		{"+switch-master", "mymaster ::1 6379 fe80::2 6380", "mymaster", "[fe80::2]:6380"},
		{"+switch-master", "mymaster a.example 6379 b.example 6380", "mymaster", "b.example:6380"},
		{"+selected-slave", "slave 127.0.0.2:6380 127.0.0.2 6380 @ mymaster 127.0.0.1 6379", "mymaster", "127.0.0.2:6380"},
		{"+odown", "master mymaster 127.0.0.1 6379 #quorum 2/2", "mymaster", "127.0.0.1:6379"},
		{"-failover-abort-not-elected", "master mymaster 127.0.0.1 6379", "mymaster", "127.0.0.1:6379"},
		{"+switch-master", "mymaster 127.0.0.1 6379 127.0.0.2", "", ""},
		{"+switch-master", "mymaster 127.0.0.1 6379 127.0.0.2 99999", "", ""},
		{"+switch-master", "", "", ""},
		{"+selected-slave", "slave x", "", ""},
		{"+selected-slave", "slave a b c ! mymaster 127.0.0.1 6379", "", ""},
	} {
		gotName, addr, ok := sentinel.ParsePush(c.channel, c.payload)
		if ok != (c.name != "") || ok && (gotName != c.name || addr != c.addr) {
			t.Errorf("%s %q: %q, %q, %v; want %q, %q", c.channel, c.payload, gotName, addr, ok, c.name, c.addr)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("+switch-master", "mymaster 127.0.0.1 6379 127.0.0.2 6380")
	f.Add("+selected-slave", "slave 127.0.0.2:6380 127.0.0.2 6380 @ mymaster 127.0.0.1 6379")
	f.Fuzz(func(t *testing.T, channel, payload string) {
		_, addr, ok := sentinel.ParsePush(channel, payload)
		if !ok {
			return
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			t.Errorf("%q %q: address %q: %v", channel, payload, addr, err)
		}
	})
}

// FuzzRole feeds whatever a server may answer.
func FuzzRole(f *testing.F) {
	f.Add([]byte("*3\r\n$6\r\nmaster\r\n:42\r\n*0\r\n"))
	f.Add([]byte("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:7\r\n"))
	f.Add([]byte("*2\r\n$8\r\nsentinel\r\n*0\r\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		value, err := wire.Decode(reply)
		parts, ok := value.([]any)
		if err != nil || !ok {
			return
		}
		primary, linked, _, err := sentinel.ParseRole(parts)
		if primary && linked || err != nil && (primary || linked) {
			t.Errorf("%q: primary %v, linked %v, %v", reply, primary, linked, err)
		}
	})
}

func TestInfoIsParsed(t *testing.T) {
	for text, want := range map[string]struct {
		primary, linked bool
		offset          int64
		bad             bool
	}{
		"# Replication\r\nrole:master\r\nconnected_slaves:1\r\nmaster_repl_offset:42\r\n":                                            {true, false, 42, false},
		"# Replication\r\nrole:slave\r\nmaster_host:::1\r\nmaster_link_status:up\r\nslave_repl_offset:7\r\nmaster_repl_offset:9\r\n": {false, true, 7, false},
		"# Replication\r\nrole:slave\r\nmaster_link_status:down\r\n":                                                                 {false, false, 0, false},
		"# Server\r\nredis_mode:sentinel\r\n":                                                                                        {bad: true},
		"":                                                                                                                           {bad: true},
	} {
		primary, linked, offset, err := sentinel.ParseInfo(text)
		if primary != want.primary || linked != want.linked || offset != want.offset || (err != nil) != want.bad {
			t.Errorf("%q: primary %v, linked %v, offset %d, %v", text, primary, linked, offset, err)
		}
	}
}

func FuzzInfo(f *testing.F) {
	f.Add("# Replication\r\nrole:master\r\nmaster_repl_offset:42\r\n")
	f.Add("# Replication\r\nrole:slave\r\nmaster_link_status:up\r\nslave_repl_offset:7\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if primary, linked, _, err := sentinel.ParseInfo(text); primary && linked || err != nil && (primary || linked) {
			t.Errorf("%q: primary %v, linked %v, %v", text, primary, linked, err)
		}
	})
}
