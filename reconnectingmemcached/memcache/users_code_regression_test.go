package memcache_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// misbehaved is how a function of the user's fails while it is told to.
type misbehaved struct {
	how    func()
	broken atomic.Bool
}

func (m *misbehaved) act() {
	if m.broken.Load() {
		m.how()
	}
}

func manners() map[string]func() {
	return map[string]func(){"panics": func() { panic("oops") }, "ends its goroutine": runtime.Goexit}
}

// functionsOfConnections are options with one function that misbehaves.
func functionsOfConnections() map[string]func(o *memcache.Options, m *misbehaved) {
	return map[string]func(o *memcache.Options, m *misbehaved){
		"DialContext": func(o *memcache.Options, m *misbehaved) {
			dial := o.DialContext
			o.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				m.act()
				return dial(ctx, network, address)
			}
		},
		"GetClientCertificate": func(o *memcache.Options, m *misbehaved) {
			o.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				m.act()
				return &tls.Certificate{}, nil
			}
		},
		"VerifyConnection": func(o *memcache.Options, m *misbehaved) {
			o.TLS.VerifyConnection = func(tls.ConnectionState) error { m.act(); return nil }
		},
		"VerifyPeerCertificate": func(o *memcache.Options, m *misbehaved) {
			o.TLS.ClientSessionCache = noSessions{}
			o.TLS.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { m.act(); return nil }
		},
		"Credentials": func(o *memcache.Options, m *misbehaved) {
			o.Credentials = func(context.Context, string) (string, string, error) {
				m.act()
				return "user", "password", nil
			}
		},
	}
}

// noSessions has each handshake be a whole one.
type noSessions struct{}

func (noSessions) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (noSessions) Put(string, *tls.ClientSessionState)        {}

// A function of the options that a dial calls ended the process, by its panic, where a goroutine of
// the client's dialled, or that goroutine, and the caller's.
func TestFunctionsOfConnectionsThatFail(t *testing.T) {
	t.Parallel()
	authority := testutil.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{authority.Here(t)}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	today := time.Now() // outside of the bubbles, in which certificates would not be valid yet
	for function, put := range functionsOfConnections() {
		for manner, how := range manners() {
			t.Run(function+" "+manner, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := &misbehaved{how: how}
					fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
					o := memcache.Options{
						Servers: []string{"server:11211"}, DialContext: encrypted(fake, server), ReportUnavailable: true,
						TLS: &tls.Config{
							RootCAs: authority.Pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, Time: func() time.Time { return today },
						},
					}
					put(&o, m)
					c, err := memcache.NewWithOptions(nil, o)
					check(t, err)
					defer func() { check(t, c.Close()) }()
					playMisbehaved(t, c, m)
				})
			})
		}
	}
}

// encrypted dials a way to a server that ends TLS.
func encrypted(fake *testutil.Fake, config *tls.Config) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		there, err := fake.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		near, here := net.Pipe()
		end, wire := net.Pipe()
		buffered := &far{way: &distance{}, here: here, there: end}
		go buffered.carry(end, here)
		go buffered.carry(here, end)
		secured := tls.Server(wire, config)
		carry := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_, _ = there.Close(), wire.Close()
		}
		go carry(there, secured)
		go carry(secured, there)
		return near, nil
	}
}

// playMisbehaved makes calls before, while and after a function fails.
func playMisbehaved(t *testing.T, c *memcache.Client, m *misbehaved) {
	large := &memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)}
	native := c.Native()
	defer func() { check(t, native.Close()) }()
	calls := map[string]func() error{
		"Get":        func() error { _, err := c.Get("read"); return err },
		"GetMulti":   func() error { _, err := c.GetMulti([]string{"read", "none"}); return err },
		"Set":        func() error { return c.Set(&memcache.Item{Key: "k"}) },
		"large Set":  func() error { return c.Set(large) },
		"native Set": func() error { return native.Set(&memcache.Item{Key: "k"}) },
		"Ping":       c.Ping,
	}
	each := func(judge func(name string, err error)) {
		for name, call := range calls {
			ended := make(chan error, 1)
			go func() {
				err := errors.New("the goroutine of the caller has ended")
				defer func() { ended <- err }()
				err = call()
			}()
			select {
			case err := <-ended:
				judge(name, err)
			case <-time.After(time.Second):
				t.Errorf("%s has not ended", name)
			}
		}
	}
	fails := func(name string, err error) {
		if err == nil || !errors.Is(err, memcache.ErrServerDown) && name != "native Set" {
			t.Errorf("%s = %v, want ErrServerDown", name, err)
		}
	}
	for range 2 {
		check(t, c.Set(&memcache.Item{Key: "read"}))
		m.broken.Store(true)
		each(func(name string, err error) {
			if err != nil { // on the connection that there is
				fails(name, err)
			}
			c.ForceDown("server:11211") // the next call dials
			c.Reset("server:11211")
		})
		each(fails)
		time.Sleep(10 * time.Second) // probes
		each(fails)
		m.broken.Store(false)
		time.Sleep(time.Minute)
		each(func(name string, err error) {
			if err != nil {
				t.Errorf("%s afterwards = %v", name, err)
			}
		})
	}
}

// endingSource is a Source that fails while it is told to.
type endingSource struct {
	*list
	*misbehaved
}

func (s endingSource) List(ctx context.Context) ([]string, error) {
	s.act()
	return s.list.List(ctx)
}

// A Source that ended its goroutine was never asked again; at the client's start, all calls waited
// for its first answer for ever.
func TestASourceThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(1))
		m := &misbehaved{how: runtime.Goexit}
		m.broken.Store(true)
		source := endingSource{&list{names: f.first(1)}, m}
		c := f.newProcess(0, memcache.Options{Source: source}).client
		defer func() { check(t, c.Close()) }()
		if err := c.Set(&memcache.Item{Key: "k"}); !errors.Is(err, memcache.ErrNoServers) {
			t.Errorf("Set = %v, want ErrNoServers", err)
		}
		m.broken.Store(false)
		time.Sleep(time.Minute)
		check(t, c.Set(&memcache.Item{Key: "k"}))
	})
}

// The function of a Load that ended its goroutine left the lease behind, and its callers heard of a
// client that was closed.
func TestALoadThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newFleet(t, newZipf(1)).newProcess(0, memcache.Options{}).client
		defer func() { check(t, c.Close()) }()
		_, err := c.Load(t.Context(), "k", time.Minute, func(context.Context) ([]byte, error) { runtime.Goexit(); return nil, nil })
		if err == nil || !strings.Contains(err.Error(), "the function ended its goroutine") {
			t.Errorf("Load = %v", err)
		}
		began := time.Now()
		value, err := c.Load(t.Context(), "k", time.Minute, func(context.Context) ([]byte, error) { return []byte("v"), nil })
		if took := time.Since(began); err != nil || string(value) != "v" || took > time.Second {
			t.Errorf("the next Load = %q, %v after %v", value, err, took)
		}
	})
}

// A selector that ended the goroutine of the beacons was the end of these: other processes heard no
// more of servers that were down.
func TestASelectorThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
		beats := beaconGets(fake)
		m := &misbehaved{how: runtime.Goexit}
		addr := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 11211}
		c, err := memcache.NewWithOptions(endingSelector{&selecting{addr: &addr}, m}, memcache.Options{
			DialContext: fake.Dial, Gutter: memcache.Gutter{Expiration: time.Minute},
		})
		check(t, err)
		defer func() { check(t, c.Close()) }()
		check(t, c.Ping())
		m.broken.Store(true)
		time.Sleep(10 * time.Second)
		m.broken.Store(false)
		before := beats.Load()
		if time.Sleep(10 * time.Second); beats.Load() == before {
			t.Error("there are no beacons any more")
		}
	})
}

// endingSelector fails while it is told to.
type endingSelector struct {
	*selecting
	*misbehaved
}

func (s endingSelector) Each(f func(net.Addr) error) error {
	s.act()
	return s.selecting.Each(f)
}

// beaconGets counts the questions for beacons.
func beaconGets(fake *testutil.Fake) *atomic.Int64 {
	gets := new(atomic.Int64)
	fake.SetFault(func(cmd testutil.Command) testutil.Fault {
		if len(cmd.Keys) > 0 && strings.HasPrefix(cmd.Keys[0], "holdfast:gutter:") {
			gets.Add(1)
		}
		return testutil.Fault{}
	})
	return gets
}
