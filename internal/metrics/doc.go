// Package metrics declares the metrics of every package: one file each, one row a metric. The
// packages send them, and the dashboards, the tables of docs/observability and their tests are made
// from them. They stand here because no package exports what only these tools need.
//
// Identity is a pair of labels everywhere: client is the Name of a client, cache or instance,
// endpoint a server, primary or peer. Verdicts have one word each: ok, hit, miss, refused (not
// tried, as it is down), busy (not tried, as too many are), timeout, failed, canceled.
package metrics

//go:generate go run ../dashboards ../../docs/observability

import "github.com/holdfast-go/holdfast/internal/observe"

// The kinds of clients that have breakers, for their label "kind".
const (
	KindMemcached   = "memcached"
	KindRedis       = "redis"
	KindAutorefresh = "autorefresh"
	KindGroupcache  = "groupcache"
	KindUser        = "user"
)

// All are the tables of all packages, for a client without a name.
func All() []*observe.Table {
	return []*observe.Table{
		NewMemcached("").Table, NewRedis("").Table, NewAutorefresh("").Table, NewGroupcache("").Table, NewDNSPeers("").Table,
		NewEtcdPeers("").Table, NewGRPCPeers("").Table, NewBreaker("", "").Table,
	}
}
