package memcachedservers_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcachedservers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ memcache.Lister = (*memcachedservers.File)(nil)
	_ memcache.Lister = (*memcachedservers.DNS)(nil)
	_ memcache.Lister = (*memcachedservers.Cluster)(nil)
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers")
	source := &memcachedservers.File{Path: path}
	if _, err := source.List(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for text, want := range map[string][]string{
		"b:1\na:1\n":                          {"b:1", "a:1"},
		"# ours\r\n  b:1  # first\r\n\r\na:1": {"b:1", "a:1"},
		"a:1\na:1\n/run/m.sock\n":             {"a:1", "a:1", "/run/m.sock"},
		"":                                    nil,
		"\n# none\n":                          nil,
		strings.Repeat("a:1\n", 300_000):      nil,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := source.List(t.Context())
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%.40q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// zone is a resolver with its answers.
type zone struct {
	hosts []string
	srv   []*net.SRV
	err   error
	asked string
}

func (z *zone) LookupHost(_ context.Context, host string) ([]string, error) {
	z.asked = host
	return z.hosts, z.err
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	z.asked = service + "/" + proto + "/" + name
	return "", z.srv, z.err
}

func TestDNS(t *testing.T) {
	pods := []*net.SRV{{Target: "cache-1.svc.", Port: 11211}, {Target: "cache-0.svc.", Port: 11211}, {Target: "cache-1.svc.", Port: 11211}}
	for _, tt := range []struct {
		what  string
		dns   memcachedservers.DNS
		zone  zone
		want  []string
		asked string
		err   string
	}{
		{"addresses", memcachedservers.DNS{Name: "svc", Port: 11211}, zone{hosts: []string{"10.0.0.2", "10.0.0.1", "fd00::1"}}, []string{"10.0.0.1:11211", "10.0.0.2:11211", "[fd00::1]:11211"}, "svc", ""},
		{"records", memcachedservers.DNS{Name: "svc", Service: "memcache"}, zone{srv: pods}, []string{"cache-0.svc:11211", "cache-1.svc:11211"}, "memcache/tcp/svc", ""},
		{"records of the name", memcachedservers.DNS{Name: "svc", Service: "-"}, zone{srv: pods[:1]}, []string{"cache-1.svc:11211"}, "//svc", ""},
		{"no answer", memcachedservers.DNS{Name: "svc", Port: 1}, zone{err: errors.New("no such host")}, nil, "svc", "no such host"},
		{"an empty answer", memcachedservers.DNS{Name: "svc", Port: 1}, zone{}, nil, "svc", "empty"},
		{"a record too few", memcachedservers.DNS{Name: "svc", Service: "-"}, zone{srv: append(pods[:2:2], &net.SRV{Target: "x.", Port: 0})}, nil, "//svc", `"x:0"`},
		{"half an answer", memcachedservers.DNS{Name: "svc", Service: "-"}, zone{srv: pods, err: errors.New("malformed")}, nil, "//svc", "malformed"},
		{"no name", memcachedservers.DNS{Port: 1}, zone{}, nil, "", "Name is empty"},
		{"no port", memcachedservers.DNS{Name: "svc"}, zone{}, nil, "", "Port is 0"},
		{"both", memcachedservers.DNS{Name: "svc", Port: 1, Service: "x"}, zone{}, nil, "", "leave one"},
	} {
		tt.dns.Resolver = &tt.zone
		got, err := tt.dns.List(t.Context())
		if !slices.Equal(got, tt.want) || tt.zone.asked != tt.asked || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v, asked for %q; want %q, an error with %q, %q", tt.what, got, err, tt.zone.asked, tt.want, tt.err, tt.asked)
		}
	}
}

// TestTheRealResolver asks for a name that every machine has.
func TestTheRealResolver(t *testing.T) {
	got, err := (&memcachedservers.DNS{Name: "localhost", Port: 11211}).List(t.Context())
	if err != nil || !slices.Contains(got, "127.0.0.1:11211") {
		t.Errorf("localhost has %q, %v", got, err)
	}
}
