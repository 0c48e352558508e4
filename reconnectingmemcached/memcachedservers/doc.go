// Package memcachedservers has sources of the servers of a memcached client: a file, DNS, and the
// clusters of ElastiCache and Memorystore. A
// [github.com/holdfast-go/holdfast/reconnectingmemcached/memcache.Client] asks the one in its
// Options.Source.
//
//	client, err := memcache.NewWithOptions(nil, memcache.Options{
//		Source: &memcachedservers.DNS{Name: "memcached.default.svc.cluster.local", Service: "memcache"},
//	})
//
// A source only reports a list; the client decides when that takes effect.
package memcachedservers
