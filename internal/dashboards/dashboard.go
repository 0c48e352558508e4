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
		{file: "overview", title: "Holdfast: overview", clients: `{__name__=~"holdfast_(memcached|redis)_dials_total|holdfast_autorefresh_misses_total|holdfast_groupcache_peers|holdfast_breaker_state"}`, first: overview()},
		{
			file: "memcached", title: "Holdfast: memcached", clients: "holdfast_memcached_operations_total",
			first: []panel{
				down("memcached", "Reads of this server's keys are misses, writes fail at once."),
				{
					title: "Hit ratio of reads", help: "Keys found, of all that were asked for while their server was up.", unit: unitShare,
					targets: []target{{hitRatio("job, client", "holdfast_memcached_operations_total", `op=~"get|get_and_touch|get_multi",`), "{{job}} {{client}}"}},
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
			first:  []panel{down("autorefresh", "The source is not asked; values stay as they are.")},
			tables: []*observe.Table{metrics.NewAutorefresh("").Table},
		},
		{
			file: "groupcache", title: "Holdfast: groupcache", clients: "holdfast_groupcache_peers",
			first: []panel{
				down("groupcache", "The next peer on the ring loads this peer's keys."),
				{
					title: "Hit ratio", help: "Gets that a cache of this process answered.", unit: unitShare,
					targets: []target{{
						`sum by (job, client, group) (rate(holdfast_groupcache_hits_total` + selector + `[$__rate_interval])) / ` +
							`(sum by (job, client, group) (rate(holdfast_groupcache_gets_total` + selector + `[$__rate_interval])) > 0)`, "{{job}} {{client}} {{group}}",
					}},
				},
				{
					title: "Peers not asked by frames, and why",
					help: "By how many processes. They are asked over HTTP, which costs more and is as right: not_let_through is a proxy or middleware that drops " +
						"upgrades, unsteady a connection that ends again and again, not_offered a peer of an older version or of the original.",
					unit: unitCount,
					targets: []target{{
						`count by (job, client, endpoint, route) (holdfast_groupcache_peer_route{` + chosen + `,route!~"frames|off"})`,
						"{{job}} {{client}} {{endpoint}} {{route}}",
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
	state := `holdfast_breaker_state{` + chosen + `,kind="` + kind + `"}`
	return panel{
		title: "Not in use", help: "By how many processes. " + help, unit: unitCount,
		targets: []target{{
			`sum by (job, client, endpoint) ((` + state + ` >= bool 1) * (` + state + ` <= bool 3))`, "{{job}} {{client}} {{endpoint}}",
		}},
	}
}

// hitRatio is that of a counter with the results hit and miss.
func hitRatio(by, name, more string) string {
	rate := func(results string) string {
		return `sum by (` + by + `) (rate(` + name + `{` + chosen + `,` + more + `result=~"` + results + `"}[$__rate_interval]))`
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
				{`count by (job, kind, client, endpoint) (holdfast_breaker_state{` + chosen + `} > 0 < 4)`, "{{job}} {{kind}} {{client}} {{endpoint}}"},
				{`count by (job, client, endpoint) (holdfast_redis_primary_up{` + chosen + `} == 0)`, "no primary: {{job}} {{client}} {{endpoint}}"},
				{`count by (job, client, endpoint) (holdfast_autorefresh_store_down{` + chosen + `} == 1)`, "second level: {{job}} {{client}} {{endpoint}}"},
				{`count by (job, client) (holdfast_groupcache_etcd_up{` + chosen + `} == 0)`, "etcd: {{job}} {{client}}"},
			},
		},
		{
			title: "What does it cost the database?", help: "Reads that no cache answered, so that the application asks its source.", unit: unitRate,
			targets: []target{
				{
					rate("job, client", `holdfast_memcached_operations_total{`+chosen+`,op=~"get|get_and_touch|get_multi",result!="hit"}`),
					"memcached {{job}} {{client}}",
				},
				{rate("job, client", `holdfast_autorefresh_loads_total{`+chosen+`,result=~"ok|not_found|failed"}`), "autorefresh {{job}} {{client}}"},
				{rate("job, client", `holdfast_groupcache_loads_total{`+chosen+`,result=~"getter|getter_failed"}`), "groupcache {{job}} {{client}}"},
			},
		},
		{
			title: "Hit ratio", help: "Keys found in the cache.", unit: unitShare,
			targets: []target{
				{hitRatio("job, client", "holdfast_memcached_operations_total", `op=~"get|get_and_touch|get_multi",`), "memcached {{job}} {{client}}"},
				{
					rate("job, client", `holdfast_groupcache_hits_total`+selector) + " / (" + rate("job, client", `holdfast_groupcache_gets_total`+selector) + " > 0)",
					"groupcache {{job}} {{client}}",
				},
			},
		},
		{
			title: "Calls that were refused or failed", help: "Refused ones cost nanoseconds; failed ones and time-outs cost the caller time.", unit: unitRate,
			targets: []target{
				{rate("job, client, result", `holdfast_memcached_operations_total{`+chosen+`,result=~"refused|busy|timeout|failed"}`), "memcached {{job}} {{client}} {{result}}"},
				{rate("job, client, result", `holdfast_redis_commands_total{`+chosen+`,result!="ok"}`), "redis {{job}} {{client}} {{result}}"},
				{rate("job, client, result", `holdfast_groupcache_peer_requests_total{`+chosen+`,result=~"failed|refused"}`), "groupcache {{job}} {{client}} {{result}}"},
				{rate("job, client, result", `holdfast_autorefresh_refreshes_total{`+chosen+`,result=~"failed|postponed"}`), "autorefresh {{job}} {{client}} {{result}}"},
			},
		},
		{
			title: "Latency, 99th percentile", help: "Of the calls that were made.", unit: unitTime,
			targets: []target{
				{p99("holdfast_memcached_operation_duration_seconds"), "memcached {{job}} {{client}}"},
				{p99("holdfast_redis_command_duration_seconds"), "redis {{job}} {{client}}"},
				{p99("holdfast_groupcache_load_duration_seconds"), "groupcache Getters {{job}} {{client}}"},
			},
		},
		{
			title: "Age of values, 99th percentile", help: "How old autorefresh's values were when they were replaced.", unit: unitTime,
			targets: []target{{p99("holdfast_autorefresh_served_age_seconds"), "{{job}} {{client}}"}},
		},
	}
}

func p99(histogram string) string {
	return `histogram_quantile(0.99, sum by (job, client, le) (rate(` + histogram + `_bucket` + selector + `[$__rate_interval])))`
}
