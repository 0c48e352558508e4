package httppeer

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// wantsUpgrade reports whether a request asks to go on with frames.
func wantsUpgrade(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.Method == http.MethodGet && r.Header.Get("Upgrade") == protocol
}

// canUpgrade reports whether the connection of a request could be taken over, as far as can be
// told.
func canUpgrade(w http.ResponseWriter) bool {
	for {
		switch x := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return false
		}
	}
}

// sessions are the connections on which a Server answers frames.
type sessions struct {
	mu      sync.Mutex
	open    map[*line.Session]*http.Server // guarded by mu
	servers map[*http.Server]struct{}      // that tell of their end; guarded by mu
	closed  bool                           // guarded by mu
	stats   SessionStats                   // guarded by mu; Open is that of open
	work    sync.WaitGroup
}

// SessionStats count the connections on which peers ask by frames.
type SessionStats struct {
	Open int
	// Made are those that went on with frames. Those that did not: a middleware has Hidden the
	// connection, or the Server was Closing.
	Made, Hidden, Closing uint64
}

// Add adds what another Server has counted.
func (s *SessionStats) Add(o SessionStats) {
	s.Open += o.Open
	s.Made += o.Made
	s.Hidden += o.Hidden
	s.Closing += o.Closing
}

// Sessions count the connections on which peers ask by frames.
func (s *Server) Sessions() SessionStats {
	x := &s.sessions
	x.mu.Lock()
	defer x.mu.Unlock()
	out := x.stats
	out.Open = len(x.open)
	return out
}

// refused counts a connection that stays one of HTTP.
func (x *sessions) refused() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		x.stats.Closing++
	} else {
		x.stats.Hidden++
	}
}

// goAwayFor is how long Close waits for peers to end their connections in good order.
const goAwayFor = 500 * time.Millisecond

// Close ends all connections that go on with frames, once the requests under way on them are
// answered. Later ones stay with HTTP.
func (s *Server) Close() {
	s.sessions.mu.Lock()
	s.sessions.closed = true
	s.sessions.mu.Unlock()
	s.sessions.each(nil, (*line.Session).GoAway)
	timer := time.AfterFunc(goAwayFor, func() { s.sessions.each(nil, (*line.Session).Close) })
	defer timer.Stop()
	s.sessions.work.Wait()
}

// each calls fn for the sessions that came by a server, all for nil.
func (x *sessions) each(of *http.Server, fn func(*line.Session)) {
	x.mu.Lock()
	var all []*line.Session
	for session, by := range x.open {
		if of == nil || of == by {
			all = append(all, session)
		}
	}
	x.mu.Unlock()
	for _, session := range all {
		fn(session)
	}
}

// add takes a session in, unless the Server is closed, and has serve run.
func (x *sessions) add(session *line.Session, by *http.Server, serve func()) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	if x.open == nil {
		x.open, x.servers = make(map[*line.Session]*http.Server), make(map[*http.Server]struct{})
	}
	x.open[session] = by
	x.stats.Made++
	if _, known := x.servers[by]; by != nil && !known {
		x.servers[by] = struct{}{}
		by.RegisterOnShutdown(func() { x.each(by, (*line.Session).GoAway) })
	}
	x.work.Go(func() {
		serve()
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.open, session)
	})
	return true
}

func (x *sessions) isClosed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed
}

// takesFrames reports whether the Server goes on with frames, as far as a request shows: one of
// HTTP/2 does not show whether one of HTTP/1.1 could.
func (s *Server) takesFrames(w http.ResponseWriter, r *http.Request) bool {
	return s.Frames && (r.ProtoMajor > 1 || canUpgrade(w)) && !s.sessions.isClosed()
}

// upgrade goes on with frames on the connection of a request, and reports whether it does. Nothing
// has been answered otherwise.
//
//nolint:contextcheck // the user makes the context of a request; the connection outlives the request
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) bool {
	if !s.Frames {
		return false
	}
	if !s.takesFrames(w, r) {
		s.sessions.refused()
		return false
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.sessions.refused()
		return false
	}
	h := http.Header{Marker: {MarkerValue}, "Connection": {"Upgrade"}, "Upgrade": {protocol}}
	ctx := r.Context()
	if s.Context != nil {
		ctx = s.Context(r)
	}
	by, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	x := &upgraded{server: s, conn: conn, request: r, in: buffered.Reader}
	if proving, ok := w.(*Proving); ok {
		x.sealed, err = proving.switchTo(h)
		x.client = proving.proof.client
	}
	if err == nil {
		err = x.answer(h)
	}
	session := line.NewSession(context.WithoutCancel(ctx), x.stream(), line.Server{
		Local: s.Local, Explain: x.explain, Fresh: x.fresh(),
		Panicked: func(v any) { panicked(by, r.RemoteAddr, v) },
	})
	if err != nil || !s.sessions.add(session, by, func() { _ = session.Serve(x.in) }) {
		session.Close()
	}
	return true
}

// panicked logs what a request has panicked with, as net/http does.
func panicked(by *http.Server, from string, v any) {
	if v == http.ErrAbortHandler { //nolint:errorlint // as it is compared there
		return
	}
	printf := log.Printf
	if by != nil && by.ErrorLog != nil {
		printf = by.ErrorLog.Printf
	}
	printf("http: panic serving %v: %v\n%s", from, v, debug.Stack())
}

// upgraded is a connection that was one of HTTP.
type upgraded struct {
	server  *Server
	conn    net.Conn
	in      *bufio.Reader // has the bytes that were read of conn
	request *http.Request // that began it
	sealed  *line.Keys    // nil without a secret
	client  string        // the peer's session
}

// answer says that frames follow.
func (x *upgraded) answer(h http.Header) error {
	if err := x.conn.SetDeadline(time.Now().Add(wire.Stall)); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(&b) // it is memory
	b.WriteString("\r\n")
	if _, err := io.WriteString(x.conn, b.String()); err != nil {
		return err
	}
	return x.conn.SetDeadline(time.Time{})
}

// readBuffer is how many bytes are read of a connection at once.
const readBuffer = 64 << 10

// ahead is a connection of which something was read before.
type ahead struct {
	net.Conn
	in io.Reader
}

// Read implements io.Reader.
func (a ahead) Read(b []byte) (int, error) { return a.in.Read(b) }

// stream is the connection as frames use it, and makes in its reader.
func (x *upgraded) stream() net.Conn {
	before, _ := x.in.Peek(x.in.Buffered()) // it is there
	in := io.MultiReader(strings.NewReader(string(before)), x.conn)
	if x.sealed == nil {
		x.in = bufio.NewReaderSize(in, readBuffer)
		return x.conn
	}
	conn := line.SealConn(ahead{x.conn, in}, *x.sealed)
	x.in = bufio.NewReaderSize(conn, readBuffer)
	return conn
}

// fresh reports whether what a peer tells is to be carried out, nil for always.
func (x *upgraded) fresh() func(frame.Stamp) bool {
	if x.sealed == nil {
		return nil
	}
	return func(s frame.Stamp) bool {
		now := time.Now()
		d := now.Sub(s.Time)
		return d <= maxSkew && d >= -maxSkew && x.server.Signer.windows.take(x.client, s.N, s.Floor, now)
	}
}

// explain has the handler of failures say what HTTP would answer.
func (x *upgraded) explain(ctx context.Context, group, key string, a wire.Answer) (status int, message string) {
	r := x.request.Clone(ctx)
	r.Header.Del("Connection")
	r.Header.Del("Upgrade")
	r.URL.RawPath = x.server.BasePath + keyPath(group, key)
	r.URL.Path = x.server.BasePath + group + "/" + key
	w := &recorder{header: make(http.Header), status: http.StatusOK}
	x.server.Fail(ctx, w, r, a.Cause)
	return w.status, strings.TrimSuffix(string(w.body), "\n")
}

// switchTo proves in the head of an answer that frames follow, and returns the keys of the
// connection.
func (p *Proving) switchTo(h http.Header) (*line.Keys, error) {
	p.sent = true
	mac := p.signer.proveAnswer(h, p.proof, http.StatusSwitchingProtocols, nil)
	toServer, toClient, err := p.signer.keysOf(p.proof.mac, mac)
	return &line.Keys{Out: toClient, In: toServer}, err
}
