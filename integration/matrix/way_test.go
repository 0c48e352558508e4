package matrix_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/proxies"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// way is the way to a server: a proxy that holds back and refuses, and before it one that changes
// what the server answers.
type way struct {
	*testutil.Proxy
	listener  net.Listener   // at the first address
	listeners []net.Listener // all there were
	through   *proxies.Proxy // before it; nil: none
	host      string         // the name by which clients know it; "": they have its address
	name      named          // what the name server says of it
	running   sync.WaitGroup
	deaf      atomic.Bool // new connections to listener are never served

	mu     sync.Mutex
	shown  *tls.Certificate                    // guarded by mu; nil: connections are not encrypted
	inside func(net.Conn)                      // guarded by mu; serves new connections in the server's place; nil: nobody does
	answer func(to net.Conn, data []byte) bool // guarded by mu; nil: as it is. False ends the connection
	rest   func()                              // guarded by mu; ends what goes on by itself; nil: nothing does
	conns  map[net.Conn]struct{}               // guarded by mu; nil once closed
}

// surroundings are what else is between a client and its server.
type surroundings struct {
	authority *testutil.Authority  // clients trust what it signs; nil: nothing is encrypted
	proxied   bool                 // a real proxy stands before the way
	named     bool                 // clients know the way by name
	absent    bool                 // the way refuses until it is restarted
	full      bool                 // the server has little memory
	several   bool                 // there are several servers
	cluster   redis.ClusterOptions // those of Redis, if there are several
	picked    bool                 // the user's own picker finds the peers
	listed    bool                 // the client's list of servers may change
	callbacks *callbacks           // the user's
	within    time.Duration        // the client's limit of time for a call; 0: the default
}

// newWay starts a way to target. A proxy before it, if there is one, is what proxy returns.
func newWay(t *testing.T, target string, in surroundings, proxy func(server string) proxies.Kind) *way {
	t.Helper()
	w := &way{Proxy: testutil.StartProxy(t, target), conns: make(map[net.Conn]struct{})}
	port, err := testutil.FreePort() // no client's own connection sits on it when a cell listens there again
	if err != nil {
		t.Fatal(err)
	}
	if w.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		t.Fatal(err)
	}
	if in.authority != nil {
		here := in.authority.Here(t)
		w.show(&here)
		w.listener = tls.NewListener(w.listener, &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: w.certificate,
			SessionTicketsDisabled: true, // a session that is resumed does not look at the certificate again
		})
	}
	first := w.listener
	w.listeners = []net.Listener{first}
	w.running.Go(func() { w.accept(first, w.serveAtHome) })
	t.Cleanup(w.close)
	if in.absent {
		_ = w.Kill()
	}
	if in.named {
		w.name = named{addrs: []netip.Addr{home()}}
		w.host = dns.add(w.name)
	}
	if in.proxied {
		w.through = proxies.Start(t, proxy(w.Addr()))
	}
	return w
}

func (w *way) close() {
	w.calm()
	for _, l := range w.listeners {
		_ = l.Close()
	}
	w.mu.Lock()
	for c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
	w.mu.Unlock()
	_ = w.Release()
	w.running.Wait()
}

// addr is where clients go.
func (w *way) addr() string {
	if w.through != nil {
		return w.through.Addr()
	}
	addr := w.listener.Addr().String()
	if w.host == "" {
		return addr
	}
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(w.host, port)
}

// answers has what the server answers changed from now on; nil ends that.
func (w *way) answers(change func(to net.Conn, data []byte) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = change
}

// show has new connections see another certificate.
func (w *way) show(c *tls.Certificate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = c
}

func (w *way) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown, nil
}

// replace has something else serve all connections from now on; nil ends that.
func (w *way) replace(server func(net.Conn)) {
	w.mu.Lock()
	w.inside = server
	w.mu.Unlock()
	w.cut()
}

func (w *way) replaced() func(net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inside
}

// heal ends all faults, those too that another has hidden.
func (w *way) heal() {
	w.calm()
	w.answers(nil)
	w.replace(nil)
	w.SetDelay(0)
	_ = w.Release()
	_ = w.Restart()
	w.cut()
}

// repeat does something again and again until calm, instead of what it repeated before.
func (w *way) repeat(once func()) {
	w.calm()
	stop, stopped := make(chan struct{}), make(chan struct{})
	w.mu.Lock()
	w.rest = func() {
		close(stop)
		<-stopped
	}
	w.mu.Unlock()
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				once()
			}
		}
	}()
}

// calm ends what repeat began.
func (w *way) calm() {
	w.mu.Lock()
	rest := w.rest
	w.rest = nil
	w.mu.Unlock()
	if rest != nil {
		rest()
	}
}

func stalls(w *way) {
	w.repeat(func() {
		_ = w.Hang()
		time.Sleep(90 * time.Millisecond)
		_ = w.Release()
		time.Sleep(410 * time.Millisecond)
	})
}

func longStalls(w *way) {
	w.repeat(func() {
		_ = w.Hang()
		time.Sleep(400 * time.Millisecond)
		_ = w.Release()
		time.Sleep(1600 * time.Millisecond)
	})
}

func jitter(w *way) {
	w.repeat(func() {
		w.SetDelay(rand.N(60 * time.Millisecond))
		time.Sleep(20 * time.Millisecond)
	})
}

func ends(w *way) {
	w.repeat(func() {
		time.Sleep(200 * time.Millisecond)
		w.cut()
	})
}

func flaps(w *way) {
	w.repeat(func() {
		_ = w.Kill()
		time.Sleep(300 * time.Millisecond)
		_ = w.Restart()
		time.Sleep(300 * time.Millisecond)
	})
}

// atCalm has calm call f.
func (w *way) atCalm(f func()) {
	w.calm()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = f
}

// drop has nobody be connected, without a word.
func drop(t *testing.T, s *subject) {
	t.Helper()
	w := s.way
	w.calm() // it may have been dropped before
	w.leaveHome()
	again, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	taken := fillUp(t, again)
	w.atCalm(func() {
		_ = again.Close()
		for _, c := range taken {
			_ = c.Close()
		}
	})
}

// leaveHome has connections to the first address be refused.
func (w *way) leaveHome() {
	_ = w.listener.Close()
	w.cut()
}

// comeHome ends drop.
func (w *way) comeHome() {
	w.calm()
	again, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", w.addr())
	if err != nil {
		return // it is at home already, or the cell finds that nothing answers
	}
	w.listener, w.listeners = again, append(w.listeners, again)
	w.running.Go(func() { w.accept(again, w.serve) })
}

// cut closes the connections there are.
func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}

func (w *way) accept(at net.Listener, serve func(net.Conn)) {
	for {
		client, err := at.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many files are open
			time.Sleep(between)
			continue
		}
		w.running.Go(func() { serve(client) })
	}
}

// serveAtHome serves a connection to the first address.
func (w *way) serveAtHome(client net.Conn) {
	if !w.deaf.Load() {
		w.serve(client)
		return
	}
	defer w.forget(client)
	if w.keep(client) {
		_, _ = io.Copy(io.Discard, client)
	}
}

// keep notes a connection; false: it is too late.
func (w *way) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		return false
	}
	w.conns[c] = struct{}{}
	return true
}

func (w *way) forget(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

func (w *way) serve(client net.Conn) {
	defer w.forget(client)
	if !w.keep(client) {
		return
	}
	if in := w.replaced(); in != nil { // it is looked at after keep: else cut may miss the connection
		in(client)
		return
	}
	server, err := net.DialTimeout("tcp", w.Addr(), time.Second)
	if err != nil || !w.keep(server) {
		if err == nil {
			_ = server.Close()
		}
		return
	}
	defer w.forget(server)
	w.running.Go(func() {
		w.copy(server, client, func() func(net.Conn, []byte) bool { return nil })
	})
	w.copy(client, server, func() func(net.Conn, []byte) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.answer
	})
}

// copy hands on what comes, changed by what change returns at that time, until one end closes.
func (w *way) copy(to, from net.Conn, change func() func(net.Conn, []byte) bool) {
	defer to.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			f := change()
			if f == nil {
				f = asItIs
			}
			if !f(to, buffer[:n]) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// asItIs hands on what has come.
func asItIs(to net.Conn, data []byte) bool {
	_, err := to.Write(data)
	return err == nil
}

// drip hands on a byte at a time, and the rest at once after a while: on a busy machine each pause
// is long, and all of them together would be longer than the callers' deadline.
func drip(to net.Conn, data []byte) bool {
	for begin := time.Now(); len(data) > 0 && time.Since(begin) < deadline/20; data = data[1:] {
		if _, err := to.Write(data[:1]); err != nil {
			return false
		}
		time.Sleep(100 * time.Microsecond)
	}
	return asItIs(to, data)
}

// trickle hands on a byte at a time, so slowly that no answer is in time.
func trickle(to net.Conn, data []byte) bool {
	for ; len(data) > 0; data = data[1:] {
		if _, err := to.Write(data[:1]); err != nil {
			return false
		}
		time.Sleep(80 * time.Millisecond)
	}
	return true
}

// half hands on the beginning of an answer and ends the connection. It hands on fewer bytes than
// the shortest answer has, because one read may have many answers, and none may pass whole.
func half(to net.Conn, data []byte) bool {
	_, _ = to.Write(data[:min(3, len(data)-1)])
	return false
}

// none ends the connection in the place of an answer.
func none(net.Conn, []byte) bool { return false }

// garbage answers bytes by chance, as many.
func garbage(to net.Conn, data []byte) bool {
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	_, err := to.Write(data)
	return err == nil
}

// line answers a line without an end, 256 KiB of it for each answer.
func line(to net.Conn, data []byte) bool {
	for range 16 {
		for i := range data[:cap(data)] {
			data[:cap(data)][i] = 'x'
		}
		if _, err := to.Write(data[:cap(data)]); err != nil {
			return false
		}
	}
	return true
}
