package outage

import (
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// copiesLive is how long a value of a dead server lives on another.
const copiesLive = 10 * time.Second

func newHoldfast(to connection) (client, error) {
	o := memcache.Options{Name: "cachedrill", Servers: to.addrs, Timeout: to.timeout, MaxIdleConns: to.conns}
	if to.own {
		o.Gutter.Expiration = copiesLive
	}
	c, err := memcache.NewWithOptions(nil, o)
	if err != nil {
		return client{}, err
	}
	breakers := func() []string {
		states := make([]string, len(to.addrs))
		for i, addr := range to.addrs {
			states[i] = c.State(addr).String()
		}
		return states
	}
	return client{cache: c, breakers: breakers, close: c.Close}, nil
}
