package memcache

import (
	"context"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"time"
	"unsafe"
)

// picker finds the server of a key.
type picker interface {
	pick(key string) (*server, error)
	each() ([]*server, error)
}

// foreignPicker asks the caller's selector, which may change its mind at any time.
type foreignPicker struct {
	core     *core
	selector ServerSelector
}

func (p *foreignPicker) pick(key string) (*server, error) {
	addr, err := p.selector.PickServer(key)
	if err != nil {
		return nil, err
	}
	return p.core.server(addr.Network(), addr.String()), nil
}

func (p *foreignPicker) each() ([]*server, error) {
	var all []*server
	err := p.selector.Each(func(addr net.Addr) error {
		all = append(all, p.core.server(addr.Network(), addr.String()))
		return nil
	})
	return all, err
}

// namePicker keeps names as they were given, and hashes as gomemcache's ServerList does: CRC-32 (IEEE) of the key modulo the
// number of names.
type namePicker struct {
	servers []*server
	err     error // what is wrong with the names
}

func newNamePicker(c *core, names []string) *namePicker {
	p := &namePicker{}
	if len(names) == 0 {
		p.err = ErrNoServers
	}
	for _, name := range names {
		if err := validateAddress(name); err != nil {
			return &namePicker{err: fmt.Errorf("%w: %w", ErrNoServers, err)}
		}
		network := "tcp"
		if isUnixPath(name) {
			network = "unix"
		}
		p.servers = append(p.servers, c.server(network, name))
	}
	return p
}

func (p *namePicker) pick(key string) (*server, error) {
	switch n := len(p.servers); n {
	case 0:
		return nil, p.err
	case 1:
		return p.servers[0], nil
	default:
		// ChecksumIEEE does not keep its argument, so the key need not be copied.
		sum := crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(key), len(key)))
		return p.servers[sum%uint32(n)], nil
	}
}

func (p *namePicker) each() ([]*server, error) {
	if len(p.servers) == 0 {
		return nil, p.err
	}
	seen := make(map[*server]bool, len(p.servers))
	unique := make([]*server, 0, len(p.servers))
	for _, s := range p.servers {
		if !seen[s] {
			seen[s] = true
			unique = append(unique, s)
		}
	}
	return unique, nil
}

// lookAgain looks the host name up once in each ResolveInterval. If it has moved away from the address that l is connected to,
// l is replaced; calls under way on it finish.
func (s *server) lookAgain(l *line) {
	interval := int64(s.core.options.ResolveInterval)
	if interval < 0 || !s.core.resolves {
		return
	}
	now, last := s.core.now(), s.resolved.Load()
	if now-last < interval || !s.resolved.CompareAndSwap(last, now) {
		return
	}
	host, _, err := net.SplitHostPort(s.address)
	if err != nil || host == "" {
		return // a unix socket
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return
	}
	s.core.spawn(func() { s.moveAway(l, host) })
}

// moveAway outlives the call that asked for it.
//
//nolint:contextcheck // see above.
func (s *server) moveAway(l *line, host string) {
	ctx, cancel := context.WithTimeout(s.core.ctx, lookupTime)
	defer cancel()
	addrs, err := s.core.lookup(ctx, host)
	if err != nil {
		return // an outage of the name service is no reason to leave a connection that works
	}
	at, ok := l.remote()
	if !ok {
		return
	}
	for _, a := range addrs {
		if a.Unmap() == at {
			return
		}
	}
	s.core.log.Info("memcached server moved", "client", s.core.name, "server", s.address, "from", at)
	s.current.CompareAndSwap(l, nil)
	l.retire()
}

// lookupTime bounds one look-up.
const lookupTime = 5 * time.Second

// remote is the IP address that the line is connected to.
func (l *line) remote() (netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return netip.Addr{}, false
	}
	tcp, ok := l.conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return tcp.AddrPort().Addr().Unmap(), true
}

func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
