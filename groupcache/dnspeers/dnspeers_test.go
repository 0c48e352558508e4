package dnspeers_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/dnspeers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ dnspeers.Instance = (*groupcache.Instance)(nil)

// instance remembers what it was told.
type instance struct {
	mu    sync.Mutex
	lists [][]string
	err   error
}

func (i *instance) SetPeers(urls ...string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return i.err
	}
	i.lists = append(i.lists, urls)
	return nil
}

func (i *instance) told() [][]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.lists)
}

// zone is a resolver whose answers a test gives.
type zone struct {
	mu    sync.Mutex
	hosts []string
	srv   []*net.SRV
	err   error
	hang  bool
	asked []string

	partly bool // err comes with srv, as from Go's resolver
}

func (z *zone) with(fn func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	fn()
}

func (z *zone) answer(ctx context.Context, question string) error {
	var err error
	var hang bool
	z.with(func() { z.asked, err, hang = append(z.asked, question), z.err, z.hang })
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (z *zone) LookupHost(ctx context.Context, host string) ([]string, error) {
	if err := z.answer(ctx, host); err != nil {
		return nil, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.hosts), nil
}

func (z *zone) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	err := z.answer(ctx, service+"/"+proto+"/"+name)
	z.mu.Lock()
	defer z.mu.Unlock()
	if err != nil && !z.partly {
		return "", nil, err
	}
	return "", z.srv, err
}

func watch(t *testing.T, i dnspeers.Instance, o dnspeers.Options) *dnspeers.Watcher {
	t.Helper()
	w, err := dnspeers.Watch(t.Context(), i, "users.svc", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.Close(), w.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestPeersFollowTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, z := &instance{}, &zone{hosts: []string{"10.0.0.2", "10.0.0.1", "fd00::1", "10.0.0.1"}}
		w := watch(t, i, dnspeers.Options{Port: 8080, Resolver: z})
		first := []string{"http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://[fd00::1]:8080"}
		if got := i.told(); len(got) != 1 || !slices.Equal(got[0], first) {
			t.Fatalf("told %q", got)
		}
		time.Sleep(time.Minute)
		if got := i.told(); len(got) != 1 {
			t.Errorf("told again what it knows: %q", got)
		}
		z.with(func() { z.hosts = []string{"10.0.0.3"} })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := i.told(); len(got) != 2 || !slices.Equal(got[1], []string{"http://10.0.0.3:8080"}) {
			t.Errorf("told %q", got)
		}
		if s := w.Stats(); s.Changes != 2 || s.Failures != 0 || s.Lookups < 12 || time.Since(s.Updated) > 5*time.Second {
			t.Errorf("%+v", s)
		}
	})
}

func TestAddressesWithoutAScheme(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, z := &instance{}, &zone{hosts: []string{"fd00::1", "10.0.0.1"}}
		watch(t, i, dnspeers.Options{Port: 6324, Resolver: z, Scheme: "none"})
		if got := i.told(); len(got) != 1 || !slices.Equal(got[0], []string{"10.0.0.1:6324", "[fd00::1]:6324"}) {
			t.Errorf("told %q", got)
		}
	})
}

// DNS that is away, or has nothing to say, must not leave a process alone with all keys.
func TestAFailedOrEmptyAnswerChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, z := &instance{}, &zone{hosts: []string{"10.0.0.1"}}
		w := watch(t, i, dnspeers.Options{Port: 8080, Resolver: z, Timeout: time.Second})
		for what, spoil := range map[string]func(){
			"empty":  func() { z.hosts = nil },
			"failed": func() { z.err = &net.DNSError{Err: "no such host", IsNotFound: true} },
			"hung":   func() { z.hang = true },
		} {
			before := w.Stats().Failures
			z.with(spoil)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if s := w.Stats(); s.Err == nil || s.Failures <= before || !slices.Equal(s.Peers, []string{"http://10.0.0.1:8080"}) || len(i.told()) != 1 {
				t.Errorf("%s: %+v, told %q", what, s, i.told())
			}
			z.with(func() { z.hosts, z.err, z.hang = []string{"10.0.0.1"}, nil, false })
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if s := w.Stats(); s.Err != nil {
				t.Errorf("healed after %s: %v", what, s.Err)
			}
		}
	})
}

func TestItStartsWithoutDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, z := &instance{}, &zone{hang: true, hosts: []string{"10.0.0.1"}}
		began := time.Now()
		w := watch(t, i, dnspeers.Options{Port: 8080, Resolver: z})
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Watch returned after %v", took)
		}
		if s := w.Stats(); s.Err == nil || len(i.told()) != 0 {
			t.Errorf("%+v", s)
		}
		z.with(func() { z.hang = false })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(i.told()) != 1 {
			t.Error("not told when DNS was back")
		}
	})
}

func TestRecordsOfAService(t *testing.T) {
	for service, question := range map[string]string{"cache": "cache/tcp/users.svc", "-": "//users.svc"} {
		i, z := &instance{}, &zone{srv: []*net.SRV{{Target: "b.users.svc.", Port: 81}, {Target: "a.users.svc.", Port: 80}}}
		watch(t, i, dnspeers.Options{Service: service, Resolver: z, Scheme: "https"})
		if got := i.told(); len(got) != 1 || !slices.Equal(got[0], []string{"https://a.users.svc:80", "https://b.users.svc:81"}) {
			t.Errorf("told %q", got)
		}
		if z.asked[0] != question {
			t.Errorf("asked %q, want %q", z.asked[0], question)
		}
	}
}

func TestCloseEndsALookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, z := &instance{}, &zone{hosts: []string{"10.0.0.1"}}
		w := watch(t, i, dnspeers.Options{Port: 8080, Resolver: z, Interval: time.Second, Timeout: time.Hour})
		z.with(func() { z.hang = true })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		began := time.Now()
		if err := w.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := w.Refresh(t.Context()); !errors.Is(err, dnspeers.ErrClosed) {
			t.Errorf("Refresh after Close: %v", err)
		}
	})
}

func TestAnInstanceThatRefusesIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, z := &instance{err: errors.New("closed")}, &zone{hosts: []string{"10.0.0.1"}}
		w := watch(t, i, dnspeers.Options{Port: 8080, Resolver: z})
		if s := w.Stats(); s.Err == nil || len(s.Peers) != 0 {
			t.Errorf("%+v", s)
		}
		i.mu.Lock()
		i.err = nil
		i.mu.Unlock()
		if err := w.Refresh(t.Context()); err != nil || len(i.told()) != 1 {
			t.Errorf("%v, told %q", err, i.told())
		}
	})
}

func TestBadOptions(t *testing.T) {
	for want, o := range map[string]dnspeers.Options{
		"Options.Port is 0":     {},
		"Options.Port is 70000": {Port: 70000},
		"leave one":             {Port: 80, Service: "cache"},
		"Options.Scheme":        {Port: 80, Scheme: "ftp"},
		"Options.Interval":      {Port: 80, Interval: -1},
		"Options.Interval is 5": {Port: 80, Interval: 5}, // 5 ns, which asked DNS without a pause
		"Options.Timeout is 1":  {Port: 80, Timeout: 1},
	} {
		if _, err := dnspeers.Watch(t.Context(), &instance{}, "users.svc", o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := dnspeers.Watch(t.Context(), &instance{}, "", dnspeers.Options{Port: 80}); err == nil || !strings.Contains(err.Error(), "name") {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	w := watch(t, &instance{}, dnspeers.Options{Port: 8080, Resolver: &zone{hosts: []string{"10.0.0.1"}}})
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(w); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	want := strings.NewReader("# HELP holdfast_groupcache_dns_peers Peers that the last usable answer named.\n# TYPE holdfast_groupcache_dns_peers gauge\nholdfast_groupcache_dns_peers{client=\"users.svc\"} 1\n")
	if err := testutil.GatherAndCompare(registry, want, "holdfast_groupcache_dns_peers"); err != nil {
		t.Error(err)
	}
}

// The real resolver, on a name that every machine has.
func TestTheRealResolver(t *testing.T) {
	i := &instance{}
	w, err := dnspeers.Watch(t.Context(), i, "localhost", dnspeers.Options{Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if got := w.Stats().Peers; !slices.Contains(got, "http://127.0.0.1:8080") {
		t.Errorf("localhost has %q, %v", got, w.Stats().Err)
	}
}

// One record that names no peer, such as one with port 0, kept the whole list from being taken, for
// ever.
func TestABadRecordLeavesTheOthers(t *testing.T) {
	good := &net.SRV{Target: "a.svc.", Port: 80}
	for what, c := range map[string]struct {
		zone   *zone
		scheme string
		want   []string
		left   int
	}{
		"port 0": {&zone{srv: []*net.SRV{good, {Target: "b.svc.", Port: 0}}}, "", []string{"http://a.svc:80"}, 1},
		"targets that are none": {
			&zone{srv: []*net.SRV{good, {Target: "evil/path?x=", Port: 80}, {Target: "@", Port: 80}, {Target: ".", Port: 80}, {Target: "u:p@h", Port: 1}}},
			"",
			[]string{"http://a.svc:80"},
			4,
		},
		"some malformed":  {&zone{srv: []*net.SRV{good}, partly: true, err: errors.New("invalid names")}, "", []string{"http://a.svc:80"}, 0},
		"a zone":          {&zone{hosts: []string{"fe80::1%eth0", "10.0.0.1"}}, "", []string{"http://10.0.0.1:80", "http://[fe80::1%25eth0]:80"}, 0},
		"a zone, gRPC":    {&zone{hosts: []string{"fe80::1%eth0", "10.0.0.1"}}, "none", []string{"10.0.0.1:80", "[fe80::1%eth0]:80"}, 0},
		"any address":     {&zone{hosts: []string{"0.0.0.0", "::", "10.0.0.1"}}, "", []string{"http://10.0.0.1:80"}, 2},
		"nothing is good": {&zone{srv: []*net.SRV{{Target: "b.svc.", Port: 0}}}, "", nil, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := dnspeers.Options{Resolver: c.zone, Scheme: c.scheme}
			if o.Port = 80; c.zone.srv != nil {
				o.Port, o.Service = 0, "cache"
			}
			i, err := groupcache.New(groupcache.Options{Transport: nowhere})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = i.Close() }()
			told := &instance{}
			w := watch(t, told, o)
			if c.scheme == "" && watch(t, i, o).Stats().Err != nil && c.want != nil {
				t.Errorf("%s: the instance does not take them: %v", what, watch(t, i, o).Stats().Err)
			}
			lists := told.told()
			if c.want == nil {
				if len(lists) > 0 || w.Stats().Err == nil {
					t.Errorf("%s: told %q, %v", what, lists, w.Stats().Err)
				}
				return
			}
			if len(lists) != 1 || !slices.Equal(lists[0], c.want) || w.Stats().Ignored != c.left || w.Stats().Err != nil {
				t.Errorf("%s: told %q, %d left out, %v", what, lists, w.Stats().Ignored, w.Stats().Err)
			}
		})
	}
}

// nowhere has every request fail at once.
func nowhere(context.Context) http.RoundTripper { return failing{} }

type failing struct{}

// RoundTrip implements http.RoundTripper.
func (failing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("there is no network")
}
