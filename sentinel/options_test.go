package sentinel_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel"
)

func TestBadOptionsAreNamed(t *testing.T) {
	good := []string{"127.0.0.1:26379"}
	names := []string{"a"}
	for _, c := range []struct {
		addrs []string
		o     sentinel.Options
		says  string
	}{
		{nil, sentinel.Options{Names: names}, "no sentinel is given"},
		{[]string{"localhost"}, sentinel.Options{Names: names}, `"localhost"`},
		{[]string{":26379"}, sentinel.Options{Names: names}, "host is missing"},
		{[]string{"::1:26379"}, sentinel.Options{Names: names}, "[host]:port"},
		{[]string{"a:0"}, sentinel.Options{Names: names}, "1 to 65535"},
		{[]string{"a:x"}, sentinel.Options{Names: names}, "1 to 65535"},
		{good, sentinel.Options{}, "Options.Names is empty"},
		{good, sentinel.Options{Names: []string{"a", ""}}, "name 2"},
		{good, sentinel.Options{Names: []string{"a", "b", "a"}}, `"a" is named twice`},
		{good, sentinel.Options{Names: names, Mode: 7}, "Options.Mode is Mode(7)"},
		{good, sentinel.Options{Names: names, Replicas: -1}, "Options.Replicas is -1"},
		{good, sentinel.Options{Names: names, Protocol: 4}, "Options.Protocol is 4"},
		{good, sentinel.Options{Names: names, DialTimeout: -1}, "Options.DialTimeout"},
		// Numbers without a unit, which are nanoseconds.
		{good, sentinel.Options{Names: names, DialTimeout: 2}, "Options.DialTimeout is 2ns: use at least 1ms"},
		{good, sentinel.Options{Names: names, EpochResetTimeout: 2}, "Options.EpochResetTimeout is 2ns"},
		{good, sentinel.Options{Names: names, Server: sentinel.Endpoint{CredentialsRefresh: 60}}, "Options.Server.CredentialsRefresh is 60ns"},
		{good, sentinel.Options{Names: names, Sentinel: sentinel.Endpoint{CredentialsRefresh: 60}}, "Options.Sentinel.CredentialsRefresh is 60ns"},
		{good, sentinel.Options{Names: names, HeartbeatTimeout: time.Millisecond}, "Options.HeartbeatTimeout is 1ms"},
		{good, sentinel.Options{Names: names, PrivateConns: -1}, "Options.PrivateConns is -1"},
		{good, sentinel.Options{Names: names, DB: -1}, "Options.DB is -1"},
		{good, sentinel.Options{Names: names, MaxLag: -1}, "Options.MaxLag is -1"},
		{good, sentinel.Options{Names: names, Allow: []string{"x"}}, "Options.Allow"},
	} {
		_, err := sentinel.New(t.Context(), c.addrs, c.o)
		if !errors.Is(err, sentinel.ErrBadOptions) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, %+v: %v; want one that says %q", c.addrs, c.o.Names, err, c.says)
		}
	}
	_, err := sentinel.New(t.Context(), nil, sentinel.Options{DB: -1})
	for _, says := range []string{"no sentinel", "Names", "DB"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("of several mistakes %q is not told: %v", says, err)
		}
	}
}

func TestNewClientReturnsAClientError(t *testing.T) {
	for _, c := range []struct {
		network, address string
		sentinel         bool
	}{{"udp", "127.0.0.1:1", false}, {"tcp", "nonsense", false}, {"tcp", "127.0.0.1:1", true}, {"tcp", "127.0.0.1:1, 127.0.0.1:2", true}} {
		_, err := sentinel.NewClient(c.network, c.address, 10, "a")
		var ce *sentinel.ClientError
		if !errors.As(err, &ce) || ce.SentinelErr != c.sentinel {
			t.Errorf("NewClient(%q, %q): %v, want a ClientError with SentinelErr %v", c.network, c.address, err, c.sentinel)
		}
	}
	var ce *sentinel.ClientError
	if _, err := sentinel.NewClient("tcp", "127.0.0.1:1", -1, "a"); !errors.As(err, &ce) || !errors.Is(err, sentinel.ErrBadOptions) {
		t.Errorf("a negative pool: %v", err)
	}
}
