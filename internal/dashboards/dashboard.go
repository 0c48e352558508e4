package main

import (
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// dashboard is one file for Grafana.
type dashboard struct {
	file, title string
	clients     string // the metric that knows all values of the variable client
	first       []panel
	tables      []*observe.Table
}

// dashboards are all. What answers the first question of the one who is called out comes first; the
// other panels follow from the tables.
func dashboards() []dashboard {
	return []dashboard{
		{file: "overview", title: "Holdfast: overview", clients: "holdfast_breaker_state", first: overview()},
		{
			file: "memcached", title: "Holdfast: memcached", clients: "holdfast_memcached_operations_total",
			first: []panel{
				down("memcached", "1: reads of this server's keys are misses, writes fail at once."),
				{
					title: "Hit ratio of reads", help: "Keys found, of all that were asked for while their server was up.", unit: unitShare,
					targets: []target{{hitRatio("client", "holdfast_memcached_operations_total", `op=~"get|get_and_touch|get_multi",`), "{{client}}"}},
				},
			},
			tables: []*observe.Table{metrics.NewMemcached("").Table},
		},
		{
			file: "redis", title: "Holdfast: Redis", clients: "holdfast_redis_sentinels_known",
			tables: []*observe.Table{metrics.NewRedis("").Table},
		},
		{
			file: "autorefresh", title: "Holdfast: autorefresh", clients: "holdfast_autorefresh_misses_total",
			first:  []panel{down("autorefresh", "1: the source is not asked; values stay as they are.")},
			tables: []*observe.Table{metrics.NewAutorefresh("").Table},
		},
		{
			file: "groupcache", title: "Holdfast: groupcache", clients: "holdfast_groupcache_peers",
			first: []panel{
				down("groupcache", "1: the next peer on the ring loads this peer's keys."),
				{
					title: "Hit ratio", help: "Gets that a cache of this process answered.", unit: unitShare,
					targets: []target{{
						`sum by (client, group) (rate(holdfast_groupcache_hits_total` + selector + `[$__rate_interval])) / ` +
							`(sum by (client, group) (rate(holdfast_groupcache_gets_total` + selector + `[$__rate_interval])) > 0)`, "{{client}} {{group}}",
					}},
				},
			},
			tables: []*observe.Table{
				metrics.NewGroupcache("").Table, metrics.NewGRPCPeers("").Table, metrics.NewEtcdPeers("").Table, metrics.NewDNSPeers("").Table,
			},
		},
		{
			file: "breaker", title: "Holdfast: breakers", clients: "holdfast_breaker_state",
			tables: []*observe.Table{metrics.NewBreaker("", "").Table},
		},
	}
}

// down shows which endpoints of a kind are not in use.
func down(kind, help string) panel {
	return panel{
		title: "Not in use", help: help, unit: unitCount,
		targets: []target{{
			`max by (client, endpoint) ((holdfast_breaker_state{client=~"$client",kind="` + kind + `"} >= bool 1) ` +
				`* (holdfast_breaker_state{client=~"$client",kind="` + kind + `"} <= bool 3))`, "{{client}} {{endpoint}}",
		}},
	}
}

// hitRatio is that of a counter with the results hit and miss.
func hitRatio(by, name, more string) string {
	rate := func(results string) string {
		return `sum by (` + by + `) (rate(` + name + `{client=~"$client",` + more + `result=~"` + results + `"}[$__rate_interval]))`
	}
	return rate("hit") + " / (" + rate("hit|miss") + " > 0)"
}

// overview asks two questions: is anything down, and what does it cost the database?
func overview() []panel {
	rate := func(by, series string) string { return `sum by (` + by + `) (rate(` + series + `[$__rate_interval]))` }
	return []panel{
		{
			title: "Is anything down?", help: "What clients take for down, by the number of processes. Nothing: all is well.", unit: unitCount,
			targets: []target{
				{`count by (kind, client, endpoint) (holdfast_breaker_state{client=~"$client"} > 0 < 4)`, "{{kind}} {{client}} {{endpoint}}"},
				{`count by (client, endpoint) (holdfast_redis_primary_up{client=~"$client"} == 0)`, "no primary: {{client}} {{endpoint}}"},
				{`count by (client, endpoint) (holdfast_autorefresh_store_down{client=~"$client"} == 1)`, "second level: {{client}} {{endpoint}}"},
				{`count by (client) (holdfast_groupcache_etcd_up{client=~"$client"} == 0)`, "etcd: {{client}}"},
			},
		},
		{
			title: "What does it cost the database?", help: "Reads that no cache answered, so that the application asks its source.", unit: unitRate,
			targets: []target{
				{
					rate("client", `holdfast_memcached_operations_total{client=~"$client",op=~"get|get_and_touch|get_multi",result!="hit"}`),
					"memcached {{client}}",
				},
				{rate("client", `holdfast_autorefresh_loads_total{client=~"$client",result=~"ok|not_found|failed"}`), "autorefresh {{client}}"},
				{rate("client", `holdfast_groupcache_loads_total{client=~"$client",result=~"getter|getter_failed"}`), "groupcache {{client}}"},
			},
		},
		{
			title: "Hit ratio", help: "Keys found in the cache.", unit: unitShare,
			targets: []target{
				{hitRatio("client", "holdfast_memcached_operations_total", `op=~"get|get_and_touch|get_multi",`), "memcached {{client}}"},
				{
					rate("client", `holdfast_groupcache_hits_total`+selector) + " / (" + rate("client", `holdfast_groupcache_gets_total`+selector) + " > 0)",
					"groupcache {{client}}",
				},
			},
		},
		{
			title: "Calls that were refused or failed", help: "Refused ones cost nanoseconds; failed ones and time-outs cost the caller time.", unit: unitRate,
			targets: []target{
				{rate("client, result", `holdfast_memcached_operations_total{client=~"$client",result=~"refused|busy|timeout|failed"}`), "memcached {{client}} {{result}}"},
				{rate("client, result", `holdfast_redis_commands_total{client=~"$client",result!="ok"}`), "redis {{client}} {{result}}"},
				{rate("client, result", `holdfast_groupcache_peer_requests_total{client=~"$client",result=~"failed|refused"}`), "groupcache {{client}} {{result}}"},
				{rate("client, result", `holdfast_autorefresh_refreshes_total{client=~"$client",result=~"failed|postponed"}`), "autorefresh {{client}} {{result}}"},
			},
		},
		{
			title: "Latency, 99th percentile", help: "Of the calls that were made.", unit: unitTime,
			targets: []target{
				{p99("holdfast_memcached_operation_duration_seconds"), "memcached {{client}}"},
				{p99("holdfast_redis_command_duration_seconds"), "redis {{client}}"},
				{p99("holdfast_groupcache_load_duration_seconds"), "groupcache Getters {{client}}"},
			},
		},
		{
			title: "Age of values, 99th percentile", help: "How old autorefresh's values were when they were replaced.", unit: unitTime,
			targets: []target{{p99("holdfast_autorefresh_served_age_seconds"), "{{client}}"}},
		},
	}
}

func p99(histogram string) string {
	return `histogram_quantile(0.99, sum by (client, le) (rate(` + histogram + `_bucket` + selector + `[$__rate_interval])))`
}
