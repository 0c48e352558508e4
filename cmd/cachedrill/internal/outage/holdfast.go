package outage

import (
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func newHoldfast(addrs []string, timeout time.Duration, conns int) (client, error) {
	c, err := memcache.NewWithOptions(nil, memcache.Options{Name: "cachedrill", Servers: addrs, Timeout: timeout, MaxIdleConns: conns})
	if err != nil {
		return client{}, err
	}
	breakers := func() []string {
		states := make([]string, len(addrs))
		for i, addr := range addrs {
			states[i] = c.State(addr).String()
		}
		return states
	}
	return client{cache: c, breakers: breakers, close: c.Close}, nil
}
