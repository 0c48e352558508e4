package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// manner is how a name server answers for a name.
type manner int

const (
	well    manner = iota // with its addresses
	gone                  // there is no such name
	failing               // it cannot look it up
	silent                // not at all
	junk                  // with bytes by chance
)

// named is what a name server knows of a name.
type named struct {
	addrs  []netip.Addr
	manner manner
	after  time.Duration // it answers
}

// nameServer is one of this process, at a UDP port of 127.0.0.1.
type nameServer struct {
	conn   net.PacketConn
	asking atomic.Int64 // connections of resolvers

	mu    sync.Mutex
	names map[string]named // guarded by mu
	last  int              // guarded by mu; the last number of a name
}

// dns answers what clients look up, from TestMain on.
//
//nolint:gochecknoglobals // as the resolver of a process is
var dns *nameServer

// serveNames starts a name server and makes it the one that all clients of this process ask.
func serveNames() (*nameServer, error) {
	conn, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &nameServer{conn: conn, names: make(map[string]named)}
	go d.serve()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
		if err != nil {
			return nil, err
		}
		d.asking.Add(1)
		return &asked{UDPConn: c.(*net.UDPConn), done: sync.OnceFunc(func() { d.asking.Add(-1) })}, nil
	}}
	return d, nil
}

// asked is a resolver's connection.
type asked struct {
	*net.UDPConn
	done func()
}

func (a *asked) Close() error {
	a.done()
	return a.UDPConn.Close()
}

// close ends it once nobody asks any more.
func (d *nameServer) close() error {
	for end := time.Now().Add(time.Minute); d.asking.Load() > 0; time.Sleep(between) {
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("%d look-ups have no end", d.asking.Load()), d.conn.Close())
		}
	}
	return d.conn.Close()
}

// add returns a new name.
func (d *nameServer) add(n named) string {
	d.mu.Lock()
	d.last++
	host := fmt.Sprintf("server-%d.matrix.test", d.last)
	d.mu.Unlock()
	d.set(host, n)
	return host
}

// set changes the entry of a name.
func (d *nameServer) set(host string, n named) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names[host] = n
}

func (d *nameServer) known(host string) (named, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[strings.TrimSuffix(host, ".")]
	return n, ok
}

func (d *nameServer) serve() {
	buffer := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if answer, after := d.answer(buffer[:n]); answer != nil {
			time.AfterFunc(after, func() { _, _ = d.conn.WriteTo(answer, from) })
		}
	}
}

// answer is nil if there is none.
func (d *nameServer) answer(request []byte) ([]byte, time.Duration) {
	var m dnsmessage.Message
	if err := m.Unpack(request); err != nil || len(m.Questions) != 1 {
		return nil, 0
	}
	q := m.Questions[0]
	n, ok := d.known(q.Name.String())
	switch {
	case n.manner == silent:
		return nil, 0
	case n.manner == junk:
		for i := range request {
			request[i] = byte(rand.Uint32())
		}
		return append([]byte(nil), request...), n.after
	case n.manner == failing:
		m.RCode = dnsmessage.RCodeServerFailure
	case n.manner == gone, !ok:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		for _, a := range n.addrs {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: a.As4()},
			})
		}
	}
	m.Response, m.Additionals = true, nil
	answer, err := m.Pack()
	if err != nil {
		return nil, 0
	}
	return answer, n.after
}

// home and away are addresses of this machine. The server is at home.
func home() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }
func away() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 2}) }

// ofNames are faults of the name by which clients know the server.
func ofNames() []fault {
	ofName := func(name string, want outcome, begin func(*testing.T, *way)) fault {
		return fault{
			name: name, named: true, want: want,
			begin: func(t *testing.T, s *subject) { t.Helper(); begin(t, s.way) },
			end: func(_ *testing.T, s *subject) {
				if s.way.name.manner != well || s.way.name.after > 0 {
					s.way.rename(named{addrs: []netip.Addr{home()}})
				}
			},
		}
	}
	lost := func(name string, n named) fault {
		f := ofName(name, served, func(_ *testing.T, w *way) { w.rename(n); w.cut() })
		f.unlike = map[string]outcome{groups: refused} // it does not remember where a peer was
		return f
	}
	dies := ofName("its name has two addresses that lead to it, and the one in use dies", served, func(t *testing.T, w *way) {
		t.Helper()
		w.listenToo(t)
		w.rename(named{addrs: []netip.Addr{home(), away()}})
		w.leaveHome()
	})
	dies.lasts = 8 * time.Second
	return []fault{
		ofName("its name has a second address, where nobody listens; connections are reset", served, func(_ *testing.T, w *way) {
			w.rename(named{addrs: []netip.Addr{away(), home()}})
			w.cut()
		}),
		dies,
		ofName("its name moves to another address; the old one refuses", served, func(t *testing.T, w *way) {
			t.Helper()
			w.listenToo(t)
			w.rename(named{addrs: []netip.Addr{away()}})
			w.leaveHome()
		}),
		ofName("its name moves to another address; the old one is a black hole", served, func(t *testing.T, w *way) {
			t.Helper()
			w.listenToo(t)
			w.rename(named{addrs: []netip.Addr{away()}})
			w.fallSilent()
		}),
		ofName("its name is gone; connections are well", served, func(_ *testing.T, w *way) { w.rename(named{manner: gone}) }),
		lost("its name is gone, and connections are reset", named{manner: gone}),
		lost("the name server fails, and connections are reset", named{manner: failing}),
		lost("the name server does not answer, and connections are reset", named{manner: silent}),
		lost("the name server answers junk, and connections are reset", named{manner: junk}),
		ofName("the name server answers after 100 ms; connections are reset", served, func(_ *testing.T, w *way) {
			w.rename(named{addrs: []netip.Addr{home()}, after: 100 * time.Millisecond})
			w.cut()
		}),
	}
}

// rename changes what the name server knows of the way's name.
func (w *way) rename(n named) {
	w.name = n
	dns.set(w.host, n)
}

// listenToo has the server be reached at another address, too.
func (w *way) listenToo(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		testutil.Lack(t, "a second loopback address needs Linux")
	}
	_, port, _ := net.SplitHostPort(w.listener.Addr().String())
	second, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(away().String(), port))
	if err != nil {
		t.Fatal(err)
	}
	w.listeners = append(w.listeners, second)
	w.running.Go(func() { w.accept(second, w.serve) })
}

// fallSilent has the first address take connections and bytes, and answer nothing.
func (w *way) fallSilent() {
	w.deaf.Store(true)
	_ = w.Stall()
}
