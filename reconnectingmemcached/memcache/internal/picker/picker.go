// Package picker finds the server of a key: as a caller's selector says, or by the names that the
// client was given.
package picker

import (
	"fmt"
	"net"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Picker finds the server of a key. Its errors wrap gomemcache's ErrNoServers, or are the caller's.
type Picker interface {
	Pick(key string) (*server.Server, error)
	// Each returns all servers, each once.
	Each() ([]*server.Server, error)
}

// Selected asks the caller's selector, which may change its mind at any time.
type Selected struct {
	Fleet    *fleet.Fleet
	Selector gomemcache.ServerSelector
}

// Pick implements [Picker].
func (p *Selected) Pick(key string) (*server.Server, error) {
	addr, err := p.ask(key)
	if err != nil {
		return nil, err
	}
	return p.server(addr)
}

// ask asks the selector for the server of a key. Its panic is an error: the call may be one of a
// goroutine of ours.
func (p *Selected) ask(key string) (addr net.Addr, err error) {
	defer recovered(&err)
	return p.Selector.PickServer(key)
}

// recovered makes an error of a selector's panic.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: the selector panicked: %v", gomemcache.ErrNoServers, v)
	}
}

// server refuses an address that the selector should not have taken, at its first use.
func (p *Selected) server(addr net.Addr) (*server.Server, error) {
	if addr == nil {
		return nil, fmt.Errorf("%w: the selector returned neither an address nor an error", gomemcache.ErrNoServers)
	}
	network, address := addr.Network(), addr.String()
	if s := p.Fleet.All()[addresses.Addr{NetworkName: network, Text: address}]; s != nil {
		return s, nil
	}
	if err := addresses.ValidateForm(address); err != nil {
		return nil, fmt.Errorf("%w: %w", gomemcache.ErrNoServers, err)
	}
	return p.Fleet.Server(network, address), nil
}

// Each implements [Picker].
func (p *Selected) Each() (all []*server.Server, err error) {
	defer recovered(&err)
	err = p.Selector.Each(func(addr net.Addr) error {
		s, err := p.server(addr)
		if err == nil {
			all = append(all, s)
		}
		return err
	})
	return all, err
}

// Named keeps names as they were given.
type Named struct {
	roster roster.Roster
	err    error // of the names
}

// New places keys on the servers of some names.
func New(f *fleet.Fleet, hash placement.Kind, names []string) *Named {
	if len(names) == 0 {
		return &Named{err: gomemcache.ErrNoServers}
	}
	for _, name := range names {
		if err := addresses.Validate(name); err != nil {
			return &Named{err: fmt.Errorf("%w: %w", gomemcache.ErrNoServers, err)}
		}
	}
	return &Named{roster: roster.New(f, hash, names)}
}

// Pick implements [Picker].
func (p *Named) Pick(key string) (*server.Server, error) {
	if p.err != nil {
		return nil, p.err
	}
	return p.roster.Pick(key), nil
}

// Each implements [Picker].
func (p *Named) Each() ([]*server.Server, error) {
	if p.err != nil {
		return nil, p.err
	}
	return p.roster.Unique(), nil
}
