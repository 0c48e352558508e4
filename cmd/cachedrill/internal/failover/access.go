package failover

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel"
)

// Login is sent to a server before anything else. The zero value is no login.
type Login struct{ Username, Password string }

// Access says how a cluster is reached. The zero value is plain and without a login.
type Access struct {
	Server, Sentinel Login
	TLS              *tls.Config // for servers and sentinels; nil: plain. An empty ServerName is that of the address
}

// options returns the access for holdfast's client.
func (a Access) options(o sentinel.Options) sentinel.Options {
	o.Server = sentinel.Endpoint{TLS: a.TLS, Username: a.Server.Username, Password: a.Server.Password}
	o.Sentinel = sentinel.Endpoint{TLS: a.TLS, Username: a.Sentinel.Username, Password: a.Sentinel.Password}
	return o
}

// Radix returns the access for radix's client.
func (a Access) Radix() radix.SentinelConfig {
	return radix.SentinelConfig{
		PoolConfig:     radix.PoolConfig{Dialer: a.dialer(a.Server)},
		SentinelDialer: a.dialer(a.Sentinel),
	}
}

func (a Access) dialer(login Login) radix.Dialer {
	d := radix.Dialer{AuthUser: login.Username, AuthPass: login.Password}
	if a.TLS != nil {
		d.NetDialer = secureDialer{a.TLS}
	}
	return d
}

// secureDialer makes encrypted connections.
type secureDialer struct{ config *tls.Config }

func (d secureDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&tls.Dialer{Config: d.config}).DialContext(ctx, network, addr)
}
