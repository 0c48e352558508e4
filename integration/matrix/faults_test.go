package matrix_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// fault is something that befalls a server, or the way to it, from begin to end.
type fault struct {
	name       string
	begin, end func(*testing.T, *subject)
	// The connection is encrypted, a real proxy is before the server, clients know it by name.
	encrypted, proxied, named bool
	full                      bool                 // the server has little memory, and drops nothing for more
	several                   bool                 // there are several servers
	cluster                   redis.ClusterOptions // of several Redis
	picked                    bool                 // the user's own picker finds the peers
	listed                    bool                 // the client's list of servers may change
	called                    bool                 // the client is given callbacks
	absent                    bool                 // the server is not there when the client starts
	alone                     bool                 // in a process of its own
	lasts                     time.Duration        // until it is looked at what callers get; 0: a moment
	within                    time.Duration        // the deadline of a call; 0: deadline
	want                      outcome
	looks                     func(*subject) error // what else is to be so then; nil: nothing
	// unlike says for which subjects it ends otherwise.
	unlike map[string]outcome
	// says is what callers get then, where that is not what refused means otherwise.
	says map[string]string
	// never says for which subjects there is no such fault, and why.
	never map[string]string
}

func faults() []fault {
	return slices.Concat(ofTheWay(), ofTheServer(), ofTheWords(), ofCertificates(), ofProxies(), ofNames(), ofThisProcess(), ofTheCallers(), ofForgery(), ofRefusals(), ofLists(), ofCallbacks(), ofPorts(), ofResources(), ofSeveral(), ofTopologies(), ofClocks())
}

// on is a fault of the way.
func on(f func(*way)) func(*testing.T, *subject) {
	return func(_ *testing.T, s *subject) { f(s.way) }
}

// delayed has each round trip take longer.
func delayed(by time.Duration) fault {
	return fault{
		name: fmt.Sprintf("%d ms more of round trip", by.Milliseconds()), want: served,
		begin: on(func(w *way) { w.SetDelay(by) }), end: on(func(w *way) { w.SetDelay(0) }),
	}
}

func ofTheWay() []fault {
	slow := map[string]outcome{groups: either}
	far := delayed(300 * time.Millisecond)
	far.name, far.within, far.unlike = far.name+", limits of time of a second", time.Second, slow
	far.lasts = 4 * time.Second // until it is known how long answers take now
	changed := func(how func(net.Conn, []byte) bool, name string, want outcome) fault {
		change := func(f func(net.Conn, []byte) bool) func(*testing.T, *subject) {
			return on(func(w *way) { w.answers(f); w.cut() })
		}
		return fault{name: name, begin: change(how), end: change(nil), want: want}
	}
	trickled := changed(trickle, "answers come byte by byte, one in 80 ms", refused)
	trickled.lasts = 3 * time.Second // the breaker opens after three time limits
	return []fault{
		{name: "refused", begin: on(func(w *way) { _ = w.Kill() }), end: on(func(w *way) { _ = w.Restart() }), want: refused},
		{name: "black hole: connections open, nothing comes", begin: on(func(w *way) { _ = w.Hang() }), end: on(func(w *way) { _ = w.Release() }), want: refused},
		{name: "black hole already when connecting: packets are dropped", begin: drop, end: on((*way).comeHome), want: refused},
		{name: "black hole for the connections there are; new ones work", begin: on(func(w *way) { _ = w.Stall() }), end: on((*way).cut), want: served},
		{name: "reset of all connections, once", begin: on((*way).cut), end: on(func(*way) {}), want: served},
		{name: "20 ms more of round trip", begin: on(func(w *way) { w.SetDelay(20 * time.Millisecond) }), end: on(func(w *way) { w.SetDelay(0) }), want: served},
		delayed(60 * time.Millisecond),
		{name: "150 ms more of round trip", begin: on(func(w *way) { w.SetDelay(150 * time.Millisecond) }), end: on(func(w *way) { w.SetDelay(0) }), want: served, unlike: slow},
		{name: "stalls of 90 ms, twice a second", begin: on(stalls), end: on((*way).calm), want: served, unlike: slow},
		{name: "stalls of 400 ms, once in two seconds", begin: on(longStalls), end: on((*way).calm), want: either},
		{name: "between 0 and 60 ms more of round trip, by chance", begin: on(jitter), end: on(func(w *way) { w.calm(); w.SetDelay(0) }), want: served, unlike: slow},
		far,
		{name: "2 s more of round trip", begin: on(func(w *way) { w.SetDelay(2 * time.Second) }), end: on(func(w *way) { w.SetDelay(0); w.cut() }), want: refused},
		{name: "each connection ends after 200 ms at most", begin: on(ends), end: on((*way).calm), want: served, unlike: map[string]outcome{sentinels: either}},
		{name: "refused for 300 ms, well for 300 ms, in turn", begin: on(flaps), end: on((*way).calm), want: either},
		changed(drip, "answers come byte by byte", served),
		trickled,
		changed(none, "the connection ends instead of an answer", refused),
		changed(half, "the connection ends in the middle of an answer", refused),
		changed(garbage, "answers are garbage", refused),
		changed(line, "answers are a line without an end", refused),
	}
}

// ofTheServer are faults of a process of its own.
func ofTheServer() []fault {
	ours := map[string]string{groups: "its server is a Go program: as refused, and as a black hole"}
	return []fault{
		{
			name: "the server is not there yet when the client starts", absent: true, want: refused,
			begin: on(func(*way) {}), end: on(func(w *way) { _ = w.Restart() }),
		},
		{
			name: "the process is stopped (SIGSTOP)", want: refused, never: ours,
			begin: func(_ *testing.T, s *subject) { _ = s.server.Hang() }, end: func(_ *testing.T, s *subject) { _ = s.server.Release() },
		},
		{
			name: "the process has a fifth of the time (SIGSTOP for 80 ms of 100)", want: served, never: ours, lasts: time.Second,
			begin: func(_ *testing.T, s *subject) {
				s.way.repeat(func() {
					_ = s.server.Hang()
					time.Sleep(80 * time.Millisecond)
					_ = s.server.Release()
					time.Sleep(20 * time.Millisecond)
				})
			},
			end: on((*way).calm),
		},
		{
			name: "the process is killed, and started again with what it keeps", want: refused, never: ours,
			begin: func(_ *testing.T, s *subject) { _ = s.server.Kill() },
			end: func(t *testing.T, s *subject) {
				t.Helper()
				if err := s.server.Restart(); err != nil {
					t.Error(err)
				}
				s.fill(t)
			},
		},
	}
}

// ofTheWords are what a server says that does not serve.
func ofTheWords() []fault {
	said := func(name string, which func(words) func(net.Conn)) fault {
		return fault{
			name: name, want: refused,
			begin: func(_ *testing.T, s *subject) { s.way.replace(which(s.words)) },
			end:   func(_ *testing.T, s *subject) { s.way.replace(nil) },
		}
	}
	busy := said("the server says to each request that it cannot now (SERVER_ERROR, LOADING, 503)", func(w words) func(net.Conn) { return w.busy })
	busy.says = map[string]string{memcaches: "`ErrServerError`, at once"}
	return []fault{
		busy,
		said("the server asks for a login (unauthenticated, NOAUTH, 401)", func(w words) func(net.Conn) { return w.login }),
		said("the server has too many connections, says so and closes", func(w words) func(net.Conn) { return w.crowds }),
	}
}

// ofCertificates are those of a server that has another one from now on.
func ofCertificates() []fault {
	shown := func(name string, which func(*testing.T, *testutil.Authority) tls.Certificate) fault {
		show := func(s *subject, c tls.Certificate) {
			s.way.show(&c)
			s.way.cut()
		}
		return fault{
			name: name, want: refused, encrypted: true,
			begin: func(t *testing.T, s *subject) { t.Helper(); show(s, which(t, s.authority)) },
			end:   func(t *testing.T, s *subject) { t.Helper(); show(s, s.authority.Here(t)) },
		}
	}
	return []fault{
		shown("TLS: the certificate has expired", func(t *testing.T, a *testutil.Authority) tls.Certificate { t.Helper(); return a.Expired(t) }),
		shown("TLS: it is that of another name", func(t *testing.T, a *testutil.Authority) tls.Certificate {
			t.Helper()
			return a.Named(t, "other.example")
		}),
		shown("TLS: it is signed by another authority", func(t *testing.T, _ *testutil.Authority) tls.Certificate {
			t.Helper()
			return testutil.NewAuthority(t).Here(t)
		}),
	}
}

// burst is how many calls come at once.
const burst = 3000

// ofTheCallers are what callers do that nobody does in a laboratory.
func ofTheCallers() []fault {
	return []fault{{
		name: fmt.Sprintf("%d calls at once, each with a deadline", burst), want: served, end: on(func(*way) {}),
		begin: func(t *testing.T, s *subject) {
			t.Helper()
			var all sync.WaitGroup
			for range burst {
				all.Go(func() { s.call(t) })
			}
			all.Wait()
		},
	}}
}
