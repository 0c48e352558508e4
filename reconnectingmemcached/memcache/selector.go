package memcache

import (
	"fmt"
	"hash/crc32"
	"net"
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
	return p.server(addr)
}

// server refuses an address that the selector should not have taken, at its first use.
func (p *foreignPicker) server(addr net.Addr) (*server, error) {
	if addr == nil {
		return nil, fmt.Errorf("%w: the selector returned neither an address nor an error", ErrNoServers)
	}
	network, address := addr.Network(), addr.String()
	if s := p.core.all()[serverAddr{network, address}]; s != nil {
		return s, nil
	}
	if err := validateForm(address); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoServers, err)
	}
	return p.core.server(network, address), nil
}

func (p *foreignPicker) each() ([]*server, error) {
	var all []*server
	err := p.selector.Each(func(addr net.Addr) error {
		s, err := p.server(addr)
		if err == nil {
			all = append(all, s)
		}
		return err
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
		p.servers = append(p.servers, c.server(networkOf(name), name))
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
