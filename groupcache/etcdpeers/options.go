package etcdpeers

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// EndpointsEnv is the environment variable, that of etcdctl, which names etcd's endpoints if
// Options do not.
const EndpointsEnv = "ETCDCTL_ENDPOINTS"

const (
	defaultEndpoint = "localhost:2379"
	defaultTTL      = 10 * time.Second
	minTTL          = 2 * time.Second // what etcd itself grants at least, with its default timings
	defaultDebounce = 100 * time.Millisecond
	defaultTimeout  = 2 * time.Second
)

// Options are a Watcher's choices. The zero value follows the list of an etcd on this machine, and
// does not register.
type Options struct {
	// Name is the value of the metric label "client". Default: that of the instance, if it has a
	// method Name, as a groupcache.Instance has; else the service.
	Name string
	// Self is the address to register, "host:port", as the others reach it. It is always among the
	// peers. Default empty: only watch.
	Self string
	// Scheme makes URLs of the addresses for SetPeers: "http" or "https". Default empty: addresses
	// as they stand, as gRPC wants them.
	Scheme string
	// Endpoints are etcd's: "host:port", or with http:// or https:// before it. Default: those of
	// the environment variable ETCDCTL_ENDPOINTS, separated by commas, else localhost:2379.
	Endpoints []string
	// Username and Password log in to etcd. Default: no login.
	Username, Password string
	// TLS encrypts the connections to etcd. Default nil: not encrypted, unless an endpoint begins
	// with https://.
	TLS *tls.Config
	// Client is the caller's own and stays open; then Endpoints, Username, Password and TLS must be
	// empty. Two things are the caller's then: gRPC's pauses between tries to connect grow to two
	// minutes, unless its DialOptions say otherwise; and a client of version 3.6 that logs in to an
	// etcd 3.4 never comes back when its token is no longer valid, and calls itself without end.
	// Default nil: one is made that has neither fault.
	Client *clientv3.Client
	// TTL is how long a registration outlives its process, and how long peers are kept after
	// trouble with etcd. Whole seconds, at least 2 s. It is renewed, and etcd asked whether it is
	// there, three times in that. Default 10 s.
	TTL time.Duration
	// Debounce is how long changes are gathered before SetPeers is called. The first list does not
	// wait. Default 100 ms.
	Debounce time.Duration
	// Timeout bounds each request to etcd; those of a Watcher that runs take a third of TTL at
	// most. Default 2 s.
	Timeout time.Duration
	// Logger is told of changes and failures. Default nil, silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if len(o.Endpoints) == 0 && o.Client == nil {
		o.Endpoints = []string{defaultEndpoint}
		if env := os.Getenv(EndpointsEnv); env != "" {
			o.Endpoints = strings.Split(env, ",")
		}
	}
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	if o.Debounce == 0 {
		o.Debounce = defaultDebounce
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return o
}

// check tells all that is wrong with options, after defaults.
func (o Options) check(instance Instance, service string) error {
	var bad []error
	reject := func(format string, args ...any) { bad = append(bad, fmt.Errorf("etcdpeers: "+format, args...)) }
	if instance == nil {
		reject("the instance is nil: pass what is to be told of the peers")
	}
	if service == "" || strings.HasSuffix(service, "/") || !utf8.ValidString(service) {
		reject("the service is %q: pass a name in UTF-8 that does not end with a slash, such as groupcache", service)
	}
	if o.Self != "" {
		if err := checkSelf(o.Self); err != nil {
			reject("Options.Self is %q: %w", o.Self, err)
		}
	}
	if o.Scheme != "" && o.Scheme != "http" && o.Scheme != "https" {
		reject("Options.Scheme is %q: set http or https, or leave it empty for addresses as they stand", o.Scheme)
	}
	if o.TTL < minTTL || o.TTL%time.Second != 0 {
		reject("Options.TTL is %v: set whole seconds, %v or more, or 0 for the default", o.TTL, minTTL)
	}
	if o.Debounce < 0 || o.Timeout < 0 {
		reject("Options.Debounce is %v and Timeout %v: set positive durations, or 0 for the defaults", o.Debounce, o.Timeout)
	}
	return errors.Join(append(bad, o.checkConnection())...)
}

func (o Options) checkConnection() error {
	var bad []error
	reject := func(format string, args ...any) { bad = append(bad, fmt.Errorf("etcdpeers: "+format, args...)) }
	if o.Client != nil {
		if len(o.Endpoints) > 0 || o.Username != "" || o.Password != "" || o.TLS != nil {
			reject("Options.Client is set: leave Endpoints, Username, Password and TLS empty, it has its own")
		}
		return errors.Join(bad...)
	}
	if (o.Username == "") != (o.Password == "") {
		reject("of Options.Username and Password only one is set: set both or none")
	}
	schemes := make(map[string]bool)
	for _, endpoint := range o.Endpoints {
		scheme, err := checkEndpoint(endpoint)
		if err != nil {
			reject("the endpoint %q of etcd, from Options.Endpoints or %s: %w", endpoint, EndpointsEnv, err)
		}
		schemes[scheme] = true
	}
	if len(schemes) > 1 && len(bad) == 0 {
		reject("the endpoints of etcd are %q: write all of them with the same scheme, else that of the first counts for all", o.Endpoints)
	}
	if o.TLS != nil && schemes["http"] {
		reject("Options.TLS is set and an endpoint begins with http://: write https://, else nothing is encrypted")
	}
	return errors.Join(bad...)
}

var (
	errNoEndpoint  = errors.New("write it like 10.0.0.1:2379 or https://etcd:2379")
	errNoAddress   = errors.New("write it like 10.0.0.1:8080 or [fd00::1]:8080")
	errUnreachable = errors.New("others cannot reach it: set the address of this machine")
)

// checkEndpoint returns the scheme of an endpoint, "" if it has none.
func checkEndpoint(endpoint string) (scheme string, err error) {
	scheme, addr, ok := strings.Cut(endpoint, "://")
	if !ok {
		scheme, addr = "", endpoint
	}
	if ok && scheme != "http" && scheme != "https" || checkAddress(addr) != nil {
		return "", errNoEndpoint
	}
	return scheme, nil
}

// checkAddress accepts host:port if it can be part of a URL.
func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || !utf8.ValidString(addr) {
		return errNoAddress
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errNoAddress
	}
	if u, err := url.Parse("http://" + addr); err != nil || u.Host != addr {
		return errNoAddress
	}
	return nil
}

func checkSelf(addr string) error {
	if err := checkAddress(addr); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return errUnreachable
	}
	return nil
}

// patience bounds the requests of a Watcher that runs: that etcd hangs must be noticed before
// leases expire.
func (o Options) patience() time.Duration { return min(o.Timeout, o.interval()) }

// interval is the time between two renewals of the lease, and between two questions whether etcd is
// there.
func (o Options) interval() time.Duration { return o.TTL / 3 }

// urls returns addresses as SetPeers takes them.
func (o Options) urls(addrs []string) []string {
	if addrs == nil {
		return nil
	}
	urls := make([]string, len(addrs))
	for i, addr := range addrs {
		if urls[i] = addr; o.Scheme != "" {
			urls[i] = o.Scheme + "://" + addr
		}
	}
	return urls
}

// Instance is told of the peers: a *groupcache.Instance.
type Instance interface {
	// SetPeers replaces the peers.
	SetPeers(addrs ...string) error
}
