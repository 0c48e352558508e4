package memcachedservers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/holdfast-go/holdfast/internal/endpoints"
)

// Resolver looks names up: a *net.Resolver.
type Resolver interface {
	// LookupHost returns the addresses of a host.
	LookupHost(ctx context.Context, host string) ([]string, error)
	// LookupSRV returns the records of a service.
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// DNS names the servers that DNS has for a name, ordered: those of its SRV records, or of its
// addresses. Prefer SRV: the names of a StatefulSet's pods are the same after a restart, and so are
// their keys; addresses are not. Answers come with pods that are ready only, unless the headless
// service has publishNotReadyAddresses.
type DNS struct {
	// Name is that of a headless service, or another name.
	Name string
	// Service is that of SRV records: "_service._tcp.name" is asked for, or just the name if
	// Service is "-". Empty: the name's addresses.
	Service string
	// Port is that of all addresses. Needed without Service, which brings ports.
	Port int
	// Resolver looks names up. Default net.DefaultResolver.
	Resolver Resolver
}

func (d *DNS) check() error {
	switch {
	case d.Name == "":
		return errors.New("memcachedservers: DNS.Name is empty: set that of a headless service")
	case d.Service == "" && (d.Port < 1 || d.Port > 65535):
		return fmt.Errorf("memcachedservers: DNS.Port is %d: set the port of the servers, or Service for records that bring it", d.Port)
	case d.Service != "" && d.Port != 0:
		return fmt.Errorf("memcachedservers: DNS.Port is %d, and Service %q: records of a service bring their own ports, leave one of them empty", d.Port, d.Service)
	}
	return nil
}

// List asks DNS. Records that name no address of a server, such as one with port 0, are an error:
// the list would not be whole. It is safe for concurrent use.
func (d *DNS) List(ctx context.Context) ([]string, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	var resolver Resolver = net.DefaultResolver
	if d.Resolver != nil {
		resolver = d.Resolver
	}
	servers, err := endpoints.Question{Name: d.Name, Port: d.Port, Service: d.Service}.Ask(ctx, resolver)
	if err != nil {
		return nil, fmt.Errorf("memcachedservers: look up %q: %w", d.Name, err)
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("memcachedservers: look up %q: the answer is empty", d.Name)
	}
	for _, server := range servers {
		if !endpoints.Usable(server) {
			return nil, fmt.Errorf("memcachedservers: look up %q: a record names %.100q, which is no address of a server", d.Name, server)
		}
	}
	slices.Sort(servers)
	return slices.Compact(servers), nil
}
