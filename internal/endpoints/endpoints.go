// Package endpoints asks DNS for the endpoints of a service, "host:port": the addresses of a name,
// or records of a service (SRV).
package endpoints

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// Resolver looks names up: a *net.Resolver.
type Resolver interface {
	// LookupHost returns the addresses of a host.
	LookupHost(ctx context.Context, host string) ([]string, error)
	// LookupSRV returns the records of a service.
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// BareName as a service asks for the records of the name itself.
const BareName = "-"

// Question is a query for addresses.
type Question struct {
	// Name is that of a host, or of the domain of a service.
	Name string
	// Port is that of all addresses of a host. It is not used with a service.
	Port int
	// Service is that of SRV records, "_service._tcp.name" or just the name if it is [BareName];
	// empty: the name's addresses.
	Service string
}

// Ask returns endpoints as the records have them, usable or not. An error may come with some:
// others are malformed.
func (q Question) Ask(ctx context.Context, r Resolver) ([]string, error) {
	if q.Service == "" {
		found, err := r.LookupHost(ctx, q.Name)
		for i, a := range found {
			found[i] = net.JoinHostPort(a, strconv.Itoa(q.Port))
		}
		return found, err
	}
	service, proto := q.Service, "tcp"
	if service == BareName {
		service, proto = "", ""
	}
	_, records, err := r.LookupSRV(ctx, service, proto, q.Name)
	found := make([]string, len(records))
	for i, record := range records {
		found[i] = net.JoinHostPort(strings.TrimSuffix(record.Target, "."), strconv.Itoa(int(record.Port)))
	}
	return found, err
}

// Usable reports whether somebody can be at an endpoint.
func Usable(endpoint string) bool {
	host, port, err := net.SplitHostPort(endpoint)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsUnspecified()
	}
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
	})
}
