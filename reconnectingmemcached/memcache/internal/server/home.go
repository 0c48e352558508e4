package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

const (
	// lookupTime bounds one look-up in the background.
	lookupTime = 5 * time.Second
	// homeDials is how often a caller's dialer is asked for one connection, when the name it is
	// given has several addresses.
	homeDials = 4
	// moveDials is how many connections of a caller's dialer must go to one other address for the
	// server to have moved there, while the ones to its home work.
	moveDials = 8
	// strayPause is how long no further such connections are asked for after that.
	strayPause = int64(time.Second)
)

var errElsewhere = errors.New("memcache: the connection goes to another address of the name than the others")

// home is the one address that a server has at a time, whatever its name has: for its shared
// connection, its private ones, its probes and its deletions. Else a value could be written to one
// memcached and read from another. It moves as a whole.
type home struct {
	host, port string        // of a name that is ours to look up; host is empty if there is none
	checked    bool          // connections may go elsewhere: there is a name, or a caller's dialer
	redials    bool          // there are both: only the dialer knows whether the name has moved
	settling   chan struct{} // holds a token while the address is being chosen; capacity 1
	several    atomic.Bool   // it was said that the name has several addresses
	strayed    atomic.Int64  // until when a caller's dialer is not asked for private connections
	unknown    unknownName

	mu sync.Mutex
	at netip.Addr // not valid: not known yet; guarded by mu
}

func (h *home) init(e *Env, address string) {
	h.settling = make(chan struct{}, 1)
	h.checked = !e.resolves
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || addresses.IsUnixPath(address) {
		return
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return
	}
	if h.redials = !e.resolves; e.resolves {
		h.host, h.port, h.checked = host, port, true
	}
}

func (h *home) ip() netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

// takes reports whether a connection goes to the home. Where it goes cannot be told of all
// connections; the first of which it can decides.
func (h *home) takes(conn net.Conn) bool {
	to, ok := sockets.RemoteOf(conn)
	if !ok || !h.checked {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.at.IsValid() {
		h.at = to
	}
	return h.at == to
}

// IsSame reports whether two names are known to stand for one server. Where a caller's dialer goes
// is not known: it may be a proxy's address that all connections go to.
func (s *Server) IsSame(other *Server) bool {
	at := s.endpoint()
	return at.IsValid() && at == other.endpoint()
}

func (s *Server) endpoint() netip.AddrPort {
	if !s.Env.resolves || s.Network != "tcp" {
		return netip.AddrPort{}
	}
	if s.home.host == "" {
		at, _ := netip.ParseAddrPort(s.Address)
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	port, err := strconv.ParseUint(s.home.port, 10, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(s.home.ip(), uint16(port))
}

// candidate chooses where to probe next. A server that is down is looked for at its own address
// first; after the grace, or once its name has lost that address, at all that the name has in turn.
func candidate(at netip.Addr, addrs []netip.Addr, inGrace bool, attempt int) netip.Addr {
	i := slices.Index(addrs, at)
	switch {
	case len(addrs) == 0, i >= 0 && inGrace:
		return at
	case i < 0:
		i = 0
	}
	return addrs[(i+attempt)%len(addrs)]
}

// lookUp looks the server's name up, and says once if it stands for several servers: a machine
// has one address of each family.
func (s *Server) lookUp(ctx context.Context) ([]netip.Addr, error) {
	addrs, err := s.Env.Lookup(ctx, s.home.host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("memcache: host name %q has no address", s.home.host)
	}
	var families [2]int
	for i, a := range addrs {
		addrs[i] = a.Unmap()
		if addrs[i].Is4() {
			families[0]++
		} else {
			families[1]++
		}
	}
	if max(families[0], families[1]) > 1 {
		s.saySeveral(addrs)
	}
	return addrs, nil
}

func (s *Server) saySeveral(addrs any) {
	if s.home.several.CompareAndSwap(false, true) {
		s.Env.Log.Warn("memcached name has several addresses: only one is used at a time; list the servers one by one to use all",
			observe.Endpoint(s.Address), "addresses", addrs)
	}
}

// dialHome opens a connection to the server's home.
func (s *Server) dialHome(ctx context.Context) (net.Conn, error) {
	switch {
	case s.home.host != "":
		return s.dialResolved(ctx)
	case s.Env.resolves:
		return s.knock(ctx, s.Address)
	}
	conn, stray, err := s.dialNamed(ctx)
	if stray != nil {
		sockets.Discard(stray)
	}
	return conn, err
}

// dialShared is dialHome for the shared connection. A caller's dialer cannot be told where to go:
// where its connection goes is the home from now on.
func (s *Server) dialShared(ctx context.Context) (net.Conn, error) {
	if s.Env.resolves {
		return s.dialHome(ctx)
	}
	conn, stray, err := s.dialNamed(ctx)
	if stray == nil {
		return conn, err
	}
	s.settleAt(stray)
	return stray, nil
}

// dialNamed asks the caller's dialer for a connection to the home, a few times. All that went
// elsewhere are closed but the last, which is returned as a stray, for the caller to take or close.
func (s *Server) dialNamed(ctx context.Context) (conn, stray net.Conn, err error) {
	for range homeDials {
		if stray != nil {
			sockets.Discard(stray)
		}
		conn, err := s.knock(ctx, s.Address)
		if err != nil {
			return nil, nil, err
		}
		if s.home.takes(conn) {
			return conn, nil, nil
		}
		stray = conn
		s.saySeveral(conn.RemoteAddr())
	}
	return nil, stray, errElsewhere
}

// dialPrivate is dialHome for a connection beside the shared one, which a caller may do without.
func (s *Server) dialPrivate(ctx context.Context) (net.Conn, error) {
	if s.Env.resolves {
		return s.dialHome(ctx)
	}
	if s.Env.Now() < s.home.strayed.Load() {
		return nil, errElsewhere
	}
	conn, stray, err := s.dialNamed(ctx)
	if stray != nil {
		sockets.Discard(stray)
		s.home.strayed.Store(s.Env.Now() + strayPause)
	}
	return conn, err
}

// dialResolved dials the home's address. If that does not answer, and the name has moved away, the
// home moves.
func (s *Server) dialResolved(ctx context.Context) (net.Conn, error) {
	at := s.home.ip()
	if !at.IsValid() {
		return s.settle(ctx, at)
	}
	conn, err := s.knock(ctx, s.home.join(at))
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	if addrs, unknown := s.lookUp(ctx); unknown != nil || slices.Contains(addrs, at) {
		return nil, err
	}
	return s.settle(ctx, at)
}

func (h *home) join(at netip.Addr) string { return net.JoinHostPort(at.String(), h.port) }

// settle finds the first of the name's addresses that takes a connection, unless another call has
// done so since the home was "from".
func (s *Server) settle(ctx context.Context, from netip.Addr) (net.Conn, error) {
	select {
	case s.home.settling <- struct{}{}:
		defer func() { <-s.home.settling }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if at := s.home.ip(); at != from {
		return s.knock(ctx, s.home.join(at))
	}
	addrs, err := s.lookUp(ctx)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	for i, at := range addrs {
		conn, err = s.knockInShare(ctx, at, len(addrs)-i)
		if err == nil {
			s.moveTo(at)
			return conn, nil
		}
	}
	return nil, err
}

// knockInShare dials with a fair part of the time that is left.
func (s *Server) knockInShare(ctx context.Context, at netip.Addr, share int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && share > 1 {
		limited, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(share))
		defer cancel()
		ctx = limited
	}
	return s.knock(ctx, s.home.join(at))
}

// settleAt makes the address that a connection goes to the home.
func (s *Server) settleAt(conn net.Conn) {
	if at, ok := sockets.RemoteOf(conn); ok && s.home.checked {
		s.moveTo(at)
	}
}

// moveTo moves the server as a whole: no connection to its former address gets another request.
func (s *Server) moveTo(at netip.Addr) {
	s.home.mu.Lock()
	from := s.home.at
	s.home.at = at
	s.home.mu.Unlock()
	if from == at || !from.IsValid() {
		return
	}
	s.Env.Log.Info("memcached server moved", observe.Endpoint(s.Address), "from", from, "to", at)
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, p := range idle {
		sockets.Discard(p.conn)
	}
	for _, l := range s.liveLines() {
		if to, known := l.remote(); known && to != at {
			s.leave(l)
			l.retire()
		}
	}
}

// lookAgain looks the host name up once in each ResolveInterval, or has a caller's dialer do so. If
// it has moved away from the server's home, so does the server; calls under way finish.
func (s *Server) lookAgain() {
	interval := int64(s.Env.config.ResolveInterval)
	if interval < 0 || s.home.host == "" && !s.home.redials {
		return
	}
	now, last := s.Env.Now(), s.resolved.Load()
	if now-last < interval || !s.resolved.CompareAndSwap(last, now) {
		return
	}
	if s.home.redials {
		s.Env.Spawn(s.followDialer)
		return
	}
	s.Env.Spawn(s.followName)
}

// followDialer asks the caller's dialer where the name leads now. If it is a name of several
// addresses, one connection that goes elsewhere says nothing: all must go to the same address.
func (s *Server) followDialer() {
	ctx, cancel := context.WithTimeout(s.Env.Ctx, lookupTime)
	defer cancel()
	var moved netip.Addr
	for range moveDials {
		conn, err := s.knock(ctx, s.Address)
		if err != nil {
			return // as in followName
		}
		_ = conn.Close()
		at, known := sockets.RemoteOf(conn)
		if !known || at == s.home.ip() || moved.IsValid() && at != moved {
			return
		}
		moved = at
	}
	s.moveTo(moved)
}

// followName outlives the call that asked for it.
func (s *Server) followName() {
	ctx, cancel := context.WithTimeout(s.Env.Ctx, lookupTime)
	defer cancel()
	at := s.home.ip()
	addrs, err := s.lookUp(ctx)
	if err != nil || !at.IsValid() || slices.Contains(addrs, at) {
		return // an outage of the name service is no reason to leave a connection that works
	}
	s.moveTo(addrs[0])
}

// remote is the IP address that the line is connected to.
func (l *line) remote() (netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return netip.Addr{}, false
	}
	return sockets.RemoteOf(l.conn)
}

// unknownName spaces the look-ups of a name that is gone, by the probes of its server. All
// processes of a fleet ask one name service.
type unknownName struct {
	mu    sync.Mutex
	times int   // failures in a row; guarded by mu
	until int64 // when it may be asked again, of the client's clock; guarded by mu
	err   error // the last one's; guarded by mu
}

// addressesAgain is addresses for probes, of which there is one at a time: the failure of one
// look-up stands for a while.
func (s *Server) addressesAgain(ctx context.Context) ([]netip.Addr, error) {
	if err := s.home.unknown.failure(s.Env.Now()); err != nil {
		return nil, err
	}
	addrs, err := s.lookUp(ctx)
	s.home.unknown.note(s.Env.Now(), err)
	return addrs, err
}

// failure is the last one, while the name is not to be asked for.
func (u *unknownName) failure(now int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now < u.until {
		return u.err
	}
	return nil
}

func (u *unknownName) note(now int64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
	if err == nil {
		u.times = 0
		return
	}
	pause := backoff.Exponential{Base: 250 * time.Millisecond, Factor: 2, Cap: 5 * time.Second}.Delay(u.times)
	u.times, u.until = u.times+1, now+int64(pause)
}
