package watch_test

import (
	"net"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/watch"
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
		got, ok := watch.ParsePush(c.channel, c.payload)
		if ok != (c.name != "") || ok && (got.Name != c.name || got.Addr != c.addr) {
			t.Errorf("%s %q: %q, %q, %v; want %q, %q", c.channel, c.payload, got.Name, got.Addr, ok, c.name, c.addr)
		}
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("+switch-master", "mymaster 127.0.0.1 6379 127.0.0.2 6380")
	f.Add("+selected-slave", "slave 127.0.0.2:6380 127.0.0.2 6380 @ mymaster 127.0.0.1 6379")
	f.Fuzz(func(t *testing.T, channel, payload string) {
		p, ok := watch.ParsePush(channel, payload)
		if !ok {
			return
		}
		if _, _, err := net.SplitHostPort(p.Addr); err != nil {
			t.Errorf("%q %q: address %q: %v", channel, payload, p.Addr, err)
		}
	})
}
