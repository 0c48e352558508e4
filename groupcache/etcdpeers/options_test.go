package etcdpeers_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
)

func TestBadOptions(t *testing.T) {
	for want, o := range map[string]etcdpeers.Options{
		`Options.Self is "10.0.0.1"`:         {Self: "10.0.0.1"},
		`Options.Self is ":8080": write it`:  {Self: ":8080"},
		`Options.Self is "0.0.0.0:8080": ot`: {Self: "0.0.0.0:8080"},
		`Options.Self is "[::]:8080": other`: {Self: "[::]:8080"},
		`Options.Self is "http://h:80"`:      {Self: "http://h:80"},
		`Options.Self is "h:http"`:           {Self: "h:http"},
		`Options.Self is "fd00::1:80"`:       {Self: "fd00::1:80"},
		`Options.Self is "a b:80"`:           {Self: "a b:80"},
		`Options.Self is "a/b:80"`:           {Self: "a/b:80"},
		"Options.Scheme":                     {Scheme: "ftp"},
		"Options.TTL is 1s":                  {TTL: time.Second},
		"Options.TTL is 2.5s":                {TTL: 2500 * time.Millisecond},
		"Options.TTL is -10s":                {TTL: -10 * time.Second},
		"Options.Debounce is -1ns":           {Debounce: -1},
		"Timeout -1ns":                       {Timeout: -1},
		`the endpoint ""`:                    {Endpoints: []string{""}},
		`the endpoint "etcd"`:                {Endpoints: []string{"h:2379", "etcd"}},
		`the endpoint "ftp://etcd:21"`:       {Endpoints: []string{"ftp://etcd:21"}},
		"same scheme":                        {Endpoints: []string{"http://h:1", "https://h:2"}},
		"nothing is encrypted":               {Endpoints: []string{"http://h:1"}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}},
		"only one is set":                    {Password: "p"},
		"Options.Client is set":              {Client: &clientv3.Client{}, Username: "u", Password: "p"},
	} {
		if w, err := etcdpeers.Watch(t.Context(), &instance{}, service, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", want, w, err)
		}
	}
	for _, name := range []string{"", "groupcache/", "\xff"} {
		if _, err := etcdpeers.Watch(t.Context(), &instance{}, name, etcdpeers.Options{}); err == nil || !strings.Contains(err.Error(), "the service is") {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := etcdpeers.Watch(t.Context(), nil, "", etcdpeers.Options{Self: "x", Scheme: "x"})
	for _, want := range []string{"instance is nil", "the service is", "Options.Self", "Options.Scheme"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of several mistakes this is not told: %s: %v", want, err)
		}
	}
}

func TestBadEndpointsOfTheEnvironment(t *testing.T) {
	t.Setenv(etcdpeers.EndpointsEnv, "h:2379,")
	if _, err := etcdpeers.Watch(t.Context(), &instance{}, service, etcdpeers.Options{}); err == nil || !strings.Contains(err.Error(), etcdpeers.EndpointsEnv) {
		t.Error(err)
	}
}

// The zero value works: it looks for an etcd on this machine, which may or may not be there.
func TestZeroOptions(t *testing.T) {
	t.Setenv(etcdpeers.EndpointsEnv, "")
	w, err := etcdpeers.Watch(t.Context(), &instance{}, "holdfast-test-of-zero-options", etcdpeers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s := w.Stats(); s.Registered || len(s.Peers) != 0 {
		t.Errorf("%+v", s)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		value("10.0.0.1:80"):               "10.0.0.1:80",
		value("[fd00::1]:65535"):           "[fd00::1]:65535",
		value("users-0.users.svc:8080"):    "users-0.users.svc:8080",
		`{"Addr":"h:1"}`:                   "h:1",
		`{"Op":1,"Addr":"h:1","More":[1]}`: "h:1", // as the package naming/endpoints reads it
		value("h:65536"):                   "",
		value("h:-1"):                      "",
		value("h:"):                        "",
		value("[fe80::1%eth0]:80"):         "", // another machine's interface
		value("u@h:80"):                    "",
		value("h:80/path"):                 "",
		`["h:1"]`:                          "",
		`{"Addr":"h:1"`:                    "",
	} {
		if got := etcdpeers.Decode([]byte(text)); got != want {
			t.Errorf("Decode(%s) = %q, want %q", text, got, want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, text := range []string{value("10.0.0.1:80"), value("[::1]:8"), `{"Addr":"a/b:80"}`, "null", "{", `{"Addr":"h\u0000:1"}`, `{"Addr":"\ud800:1"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		addr := etcdpeers.Decode(text)
		if addr == "" {
			return
		}
		stored, err := etcdpeers.Encode(addr)
		if err != nil || etcdpeers.Decode([]byte(stored)) != addr {
			t.Errorf("%q is stored as %s, read as %q, %v", addr, stored, etcdpeers.Decode([]byte(stored)), err)
		}
		if strings.ContainsAny(addr, "/?#@ \n\\") {
			t.Errorf("%q would change a URL", addr)
		}
	})
}
