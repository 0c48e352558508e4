package etcd

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

const (
	// defaultAddr is the original's.
	defaultAddr = "127.0.0.1:6324"
	// defaultService is the name that the original's peers register under.
	defaultService = "groupcache"
)

// Options are a Server's choices beyond its address. The zero value is what NewServer uses.
type Options struct {
	// Service is the name under which peers register. Default "groupcache", the original's.
	Service string
	// Listen is the address that Start listens on, if it is not that by which peers reach the
	// server. Default empty: that one.
	Listen string
	// Endpoints are etcd's. Default: those of the environment variable ETCDCTL_ENDPOINTS, separated
	// by commas, else localhost:2379.
	Endpoints []string
	// Username and Password log in to etcd. Default: no login.
	Username, Password string
	// TLS is for connections to etcd. Default nil: plain text, unless an endpoint begins with
	// https://.
	TLS *tls.Config
	// TTL is how long the registration of a process that died is kept by etcd, in whole seconds.
	// Default 10 s.
	TTL time.Duration
	// Peers are the choices for what peers say to each other: TLS, credentials. Default: plain
	// text.
	Peers grpcpeer.Options
	// Cache are those of the Instance; Self and Network are the Server's.
	Cache groupcache.Options
	// Logger is told of changes and failures. Default nil, silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Service == "" {
		o.Service = defaultService
	}
	if o.Cache.Logger == nil {
		o.Cache.Logger = o.Logger
	}
	return o
}

var errNotYours = errors.New("etcd: Options.Cache has Self or Network, which are the server's: leave them empty")

func (o Options) check() error {
	if o.Cache.Self != "" || o.Cache.Network != nil {
		return errNotYours
	}
	return nil
}

// discovery are the options of the watcher of a server.
func (o Options) discovery(self string) etcdpeers.Options {
	return etcdpeers.Options{
		Self: self, Endpoints: o.Endpoints, Username: o.Username, Password: o.Password, TLS: o.TLS, TTL: o.TTL, Logger: o.Logger,
	}
}
