package outage

import (
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// sideNames are part of the keys.
func sideNames() []string { return []string{"p", "h"} }

// client is one of the two under test.
type client struct {
	cache    workload.Cache
	breakers func() []string // per server; nil: it has none
	close    func() error
}

// connection is what both clients are given.
type connection struct {
	addrs   []string
	timeout time.Duration
	conns   int
	own     bool // the servers are the drill's own, so that any key may be stored there
}

func newPlain(to connection) (client, error) {
	servers := new(gomemcache.ServerList)
	if err := servers.SetServers(to.addrs...); err != nil {
		return client{}, err
	}
	c := gomemcache.NewFromSelector(servers)
	c.Timeout, c.MaxIdleConns = to.timeout, to.conns
	return client{cache: c, close: c.Close}, nil
}
