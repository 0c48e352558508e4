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

func newPlain(addrs []string, timeout time.Duration, conns int) (client, error) {
	servers := new(gomemcache.ServerList)
	if err := servers.SetServers(addrs...); err != nil {
		return client{}, err
	}
	c := gomemcache.NewFromSelector(servers)
	c.Timeout, c.MaxIdleConns = timeout, conns
	return client{cache: c, close: c.Close}, nil
}
