package matrix_test

import (
	"net"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/proxies"
)

// Each kind of server has the proxy that is often before it.
func twemproxy(server string) proxies.Kind { return proxies.Twemproxy(400*time.Millisecond, server) }
func haproxy(server string) proxies.Kind   { return proxies.Haproxy("tcp", server) }
func nginx(server string) proxies.Kind     { return proxies.Nginx(server, "") }

// ofProxies are faults where a proxy is before the server.
func ofProxies() []fault {
	through := func(name string, want outcome, begin, end func(*way)) fault {
		return fault{name: "through a proxy (twemproxy, haproxy, nginx): " + name, proxied: true, want: want, begin: on(begin), end: on(end)}
	}
	none := func(*way) {}
	dead := through("the server behind it is dead", refused, func(w *way) { _ = w.Kill() }, func(w *way) { _ = w.Restart() })
	dead.says = map[string]string{memcaches: "`ErrServerError`, at once"}
	hole := through("the server behind it is a black hole", refused, func(w *way) { _ = w.Hang() }, func(w *way) { _ = w.Release() })
	// Twemproxy answers for the server in the end, so that it is not down itself.
	hole.unlike = map[string]outcome{memcaches: late, secondLevels: late}
	hole.says = map[string]string{memcaches: "`ErrServerError` or misses"}
	return []fault{
		through("all is well", served, none, none),
		dead,
		hole,
		through("it is killed, and started again", refused, func(w *way) { w.through.Kill() }, func(w *way) { w.through.Restart() }),
		{
			name: "something accepts connections and resets them at once", want: refused,
			begin: on(func(w *way) { w.replace(reset) }), end: on(func(w *way) { w.replace(nil) }),
		},
		{
			name: "something accepts connections, and resets them at the first request", want: refused,
			begin: on(func(w *way) { w.replace(resetWhenAsked) }), end: on(func(w *way) { w.replace(nil) }),
		},
	}
}

// reset ends a connection as a server does that has crashed.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed either way
	}
}

// resetWhenAsked does so when something has come.
func resetWhenAsked(c net.Conn) {
	if _, err := c.Read(make([]byte, 1)); err == nil {
		reset(c)
	}
}
