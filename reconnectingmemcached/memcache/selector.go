package memcache

import (
	"context"
	"fmt"
	"net"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// picker finds the server of a key.
type picker interface {
	pick(key string) (*server.Server, error)
	each() ([]*server.Server, error)
}

// foreignPicker asks the caller's selector, which may change its mind at any time.
type foreignPicker struct {
	core     *core
	selector ServerSelector
}

func (p *foreignPicker) pick(key string) (*server.Server, error) {
	addr, err := p.selector.PickServer(key)
	if err != nil {
		return nil, err
	}
	return p.server(addr)
}

// server refuses an address that the selector should not have taken, at its first use.
func (p *foreignPicker) server(addr net.Addr) (*server.Server, error) {
	if addr == nil {
		return nil, fmt.Errorf("%w: the selector returned neither an address nor an error", ErrNoServers)
	}
	network, address := addr.Network(), addr.String()
	if s := p.core.all()[addresses.Addr{NetworkName: network, Text: address}]; s != nil {
		return s, nil
	}
	if err := addresses.ValidateForm(address); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoServers, err)
	}
	return p.core.server(network, address), nil
}

func (p *foreignPicker) each() ([]*server.Server, error) {
	var all []*server.Server
	err := p.selector.Each(func(addr net.Addr) error {
		s, err := p.server(addr)
		if err == nil {
			all = append(all, s)
		}
		return err
	})
	return all, err
}

// namePicker keeps names as they were given.
type namePicker struct {
	roster roster
	err    error // what is wrong with the names
}

func newNamePicker(c *core, names []string) *namePicker {
	if len(names) == 0 {
		return &namePicker{err: ErrNoServers}
	}
	for _, name := range names {
		if err := addresses.Validate(name); err != nil {
			return &namePicker{err: fmt.Errorf("%w: %w", ErrNoServers, err)}
		}
	}
	return &namePicker{roster: newRoster(c, names)}
}

func (p *namePicker) pick(key string) (*server.Server, error) {
	if p.err != nil {
		return nil, p.err
	}
	return p.roster.pick(key), nil
}

func (p *namePicker) each() ([]*server.Server, error) {
	if p.err != nil {
		return nil, p.err
	}
	return p.roster.unique(), nil
}

// nativeSelector shows c's choice of server to gomemcache.
type nativeSelector struct{ client *Client }

func (n nativeSelector) PickServer(key string) (net.Addr, error) {
	core, err := n.client.listed(context.Background())
	if err != nil {
		return nil, err
	}
	s, err := core.picker.pick(key)
	if err != nil {
		return nil, err
	}
	return addresses.Addr{NetworkName: s.Network, Text: s.Address}, nil
}

func (n nativeSelector) Each(visit func(net.Addr) error) error {
	core, err := n.client.listed(context.Background())
	if err != nil {
		return err
	}
	servers, err := core.picker.each()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if err := visit(addresses.Addr{NetworkName: s.Network, Text: s.Address}); err != nil {
			return err
		}
	}
	return nil
}
