package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestCallsWaitForTheFirstList, and say why there is none.
func TestCallsWaitForTheFirstList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, newZipf(1), 1, testutil.FakeOptions{})
		slow := &slowList{list: list{names: f.first(1)}, delay: 300 * time.Millisecond}
		p := f.newProcess(0, memcache.Options{Source: slow})
		if err := p.client.Set(&memcache.Item{Key: "k"}); err != nil {
			t.Errorf("Set = %v", err)
		}
		check(t, p.client.Close())

		slow.delay = 2 * time.Second
		began := time.Now()
		if _, err := p.client.Get("k"); !errors.Is(err, memcache.ErrNoServers) || time.Since(began) != memcache.DefaultTimeout {
			t.Errorf("Get = %v after %v", err, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		if _, err := p.client.Get("k"); err != nil {
			t.Errorf("Get = %v", err)
		}
		check(t, p.client.Close())

		slow.delay = 0
		slow.set(errors.New("who knows"))
		for range 2 {
			began = time.Now()
			if _, err := p.client.GetMulti([]string{"k"}); !errors.Is(err, memcache.ErrNoServers) || !strings.Contains(err.Error(), "who knows") || time.Since(began) > 0 {
				t.Errorf("GetMulti = %v after %v", err, time.Since(began))
			}
		}
		if err := p.client.Ping(); !errors.Is(err, memcache.ErrNoServers) {
			t.Errorf("Ping = %v", err)
		}
		if p.client.Available() {
			t.Error("available without servers")
		}
		slow.set(nil, f.first(1)...)
		time.Sleep(1100 * time.Millisecond)
		if err := p.client.Ping(); err != nil {
			t.Errorf("Ping = %v", err)
		}
		check(t, p.client.Close())
	})
}

type slowList struct {
	list
	delay time.Duration
}

func (s *slowList) List(ctx context.Context) ([]string, error) {
	time.Sleep(s.delay)
	return s.list.List(ctx)
}

type panics struct{}

func (panics) List(context.Context) ([]string, error) { panic("no list") }

func TestASourceThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := memcache.NewWithOptions(nil, memcache.Options{Source: panics{}})
		check(t, err)
		if _, err := c.Get("k"); !errors.Is(err, memcache.ErrNoServers) || !strings.Contains(err.Error(), "no list") {
			t.Errorf("Get = %v", err)
		}
		check(t, c.Close())
	})
}

// TestLongLists: a list of more servers than are used, or with a name that is too long, is an
// error. Processes that begin after a change hear of a long one from the servers that answer: while
// one hung, the time to tell those was what was left after it had been waited for, which was none.
func TestLongLists(t *testing.T) {
	t.Parallel()
	names := make([]string, 1001)
	for i := range names {
		names[i] = fmt.Sprintf("%04d%s:11211", i, strings.Repeat("x", 250))
	}
	synctest.Test(t, func(t *testing.T) {
		fakes := make(map[string]*testutil.Fake) // the others are dead
		for _, name := range names[1:3] {
			fakes[name] = testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: name})
		}
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if fake := fakes[addr]; fake != nil {
				return fake.Dial(ctx, network, addr)
			}
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		const servers = memcache.LargeValue/260 + 2 // a report of them is sent apart from small requests
		source := &list{names: names[:servers]}
		newProcess := func() *memcache.Client {
			c, err := memcache.NewWithOptions(nil, memcache.Options{Source: source, SourceInterval: time.Second, DialContext: dial, Hash: memcache.Rendezvous})
			check(t, err)
			_ = c.Ping()
			return c
		}
		c := newProcess()
		for what, answer := range map[string][]string{
			"names 1001 servers: at most 1000": names,
			"has 1048578 bytes: use at most":   append(names[:9:9], strings.Repeat("x", 1<<20)+":1"),
		} {
			source.set(nil, answer...)
			time.Sleep(1500 * time.Millisecond)
			if st := c.ListStats(); st.Err == nil || !strings.Contains(st.Err.Error(), what) || len(st.Err.Error()) > 200 || st.Changes != 1 {
				t.Errorf("%d changes, %v, want an error with %q", st.Changes, st.Err, what)
			}
		}
		time.Sleep(2 * time.Second)
		check(t, fakes[names[2]].Hang())
		source.set(nil, names[1:servers+1]...)
		for c.ListStats().Changes != 2 {
			time.Sleep(10 * time.Millisecond)
		}
		check(t, c.Close())
		later := newProcess()
		if st := later.Stats(); len(st) != servers+1 {
			t.Errorf("a process that begins later knows %d servers, want those of both lists", len(st))
		}
		check(t, later.Close())
	})
}

func TestOptionsOfLists(t *testing.T) {
	source := &list{names: []string{"a:1"}}
	for want, o := range map[string]memcache.Options{
		"more than one":  {Source: source, Servers: []string{"a:1"}},
		"Options.Hash":   {Source: source, Hash: 3},
		"SourceInterval": {Source: source, SourceInterval: -1},
		"Options.Source": {},
		// A bare number counts nanoseconds.
		"Options.SourceInterval is 1ns: use at least 1ms":  {Source: source, SourceInterval: 1},
		"Options.ResolveInterval is 30ns: use at least 1":  {Source: source, ResolveInterval: 30},
		"Options.Gutter.Beacon is 999.999µs: use at least": {Source: source, Gutter: memcache.Gutter{Beacon: time.Millisecond - 1}},
	} {
		if _, err := memcache.NewWithOptions(nil, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", o, err, want)
		}
	}
	selector := new(memcache.ServerList)
	if _, err := memcache.NewWithOptions(selector, memcache.Options{Hash: memcache.Ketama}); err == nil {
		t.Error("a selector and a hash are taken")
	}
}
