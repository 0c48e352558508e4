package workload

import (
	"fmt"
	"net"
	"strconv"

	"github.com/bradfitz/gomemcache/memcache"
)

// Prefix begins every key that a drill writes.
const Prefix = "cachedrill:"

// Keys returns count keys for each of the names, all beginning with Prefix and run, and the index
// of the server that owns the keys of each rank: the ranks are dealt out to the servers in turn. So
// neither the run nor the name decides which servers have the popular keys.
func Keys(run string, count, servers int, names ...string) (keys [][]string, owners []int, err error) {
	picker, err := newPicker(servers)
	if err != nil {
		return nil, nil, err
	}
	keys = make([][]string, len(names))
	for rank := range count {
		owner := rank % servers
		owners = append(owners, owner)
		for n, name := range names {
			key, err := picker.keyOf(fmt.Sprintf("%s%s:%s:%d", Prefix, run, name, rank), owner)
			if err != nil {
				return nil, nil, err
			}
			keys[n] = append(keys[n], key)
		}
	}
	return keys, owners, nil
}

// picker chooses servers by index, as both clients choose among the same number of addresses.
type picker struct{ list memcache.ServerList }

func newPicker(servers int) (*picker, error) {
	addrs := make([]string, servers)
	for i := range addrs {
		addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(i+1))
	}
	p := &picker{}
	return p, p.list.SetServers(addrs...)
}

// keyOf returns the first extension of base that the server owns.
func (p *picker) keyOf(base string, server int) (string, error) {
	for try := 0; ; try++ {
		key := base + ":" + strconv.Itoa(try)
		if owner, err := p.owner(key); err != nil || owner == server {
			return key, err
		}
	}
}

func (p *picker) owner(key string) (int, error) {
	addr, err := p.list.PickServer(key)
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(port)
	return n - 1, err
}
