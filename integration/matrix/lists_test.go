package matrix_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// list is a selector that knows one server, or none.
type list struct {
	addr  net.Addr
	empty atomic.Bool
}

// listOf returns a list with a server of which the client knows only by it.
func listOf(t *testing.T, addr string) *list {
	t.Helper()
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return &list{addr: at}
}

// PickServer implements memcache.ServerSelector.
func (l *list) PickServer(string) (net.Addr, error) {
	if l.empty.Load() {
		return nil, memcache.ErrNoServers
	}
	return l.addr, nil
}

// Each implements memcache.ServerSelector.
func (l *list) Each(f func(net.Addr) error) error {
	if l.empty.Load() {
		return nil
	}
	return f(l.addr)
}

// change has the list lose its server, or get it back.
func (l *list) change(there bool) { l.empty.Store(!there) }

// ofLists are lists of servers that change while they are used.
func ofLists() []fault {
	listed := func(name string, want outcome, begin func(*subject)) fault {
		return fault{
			name: name, listed: true, want: want, lasts: time.Second,
			says:  map[string]string{memcaches: "`ErrNoServers`, at once"},
			never: map[string]string{sentinels: "its list is what the sentinels say, or a name's addresses"},
			begin: func(_ *testing.T, s *subject) { begin(s) },
			end:   func(_ *testing.T, s *subject) { s.way.calm(); s.list(true) },
		}
	}
	return []fault{
		listed("the list of servers loses it", refused, func(s *subject) { s.list(false) }),
		listed("the list of servers loses it and gets it back, ten times a second", either, func(s *subject) {
			there := true
			s.way.repeat(func() {
				there = !there
				s.list(there)
				time.Sleep(50 * time.Millisecond)
			})
		}),
	}
}
