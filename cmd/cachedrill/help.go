package main

import (
	"fmt"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/outage"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/staleness"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/stampede"
)

// helpText is what -h prints, without the defaults.
const helpText = `cachedrill rehearses an outage: the same load goes through a plain client and through holdfast while servers fail and
recover. It shows what callers notice, live and in a report.

usage: cachedrill [flags]

examples
  cachedrill
        one minute on servers of its own; nothing has to be installed
  cachedrill -scenario sentinel
        redis behind Sentinel: a planned failover, a dead primary, a hung one, and which acknowledged writes are lost
  cachedrill -scenario all -no-web -out drill
        for CI: exit status 1 if a promise is broken, the reports in ./drill
  cachedrill -servers cache1:11211,cache2:11211 -faults
        against your servers; faults happen in a proxy on the way, the servers are not touched
  cachedrill -sentinels host1:26379,host2:26379 -name mymaster
        against your redis, load only

the drill
  -scenario name    what to drill (default memcached; sentinel with -sentinels)
                    memcached   servers of a cache are killed and hang: gomemcache and holdfast
                    sentinel    redis primaries fail over, are killed and hang: radix's own Sentinel client and holdfast
                    groupcache  processes that share a cache are killed and hang, while many callers ask for one key: a peer
                                cache written plainly and holdfast
                    autorefresh the source of cached values slows and dies, then the second level does: otter with a loader
                                and holdfast
                    all         one after another, and one report
  -duration d       all phases together, from 3s (default %v; with -servers or -sentinels %v, with -faults %v)
  -seed n           the same seed makes the same requests (default 1)
  -promise list     what holdfast must keep in every phase, separated by commas; "" for nothing
                    metric@phase is about one phase only: errors@failover<1%%
                    p50, p90, p99, max   time from a request's arrival to its answer: p99<400ms
                    late                 requests that took longer than 100ms: late<5%%
                    errors               requests without an answer within 1s, or with an error: errors<0.1%%
                    memcached (default "%s")
                    stale                reads answered with a value replaced more than 1s before: stale<0.1%%
                    db                   database loads as a multiple of those no cache could avoid, the keys of a server
                                         that is down among them; fewer than 5%% of the reads count as 5%%: db<2x
                    sentinel (default "%s",
                    with -sentinels "%s")
                    lost                 acknowledged writes that are gone: lost=0; without @ not about the phases killed and
                                         hung, in which redis itself loses what it had not replicated
                    gap                  longest time in which no write was acknowledged that was also kept: gap<5s
                    groupcache (default "%s")
                    db, stale            as for memcached
                    herd                 database loads of the key that a herd of callers asks for at once: herd=1
                    autorefresh (default "%s")
                    calls                calls of the source per second, as a multiple of those in the phase healthy: calls<3x
                    age, old             p99 of the ages of answers as a multiple of the period, and answers older than 1.1
                                         periods: age<1.5x,old<1%%; without @ not about the phases slow, dead and back

the load, on each side
  -rate n           requests per second, evenly spaced, whether or not they are answered (default %d; with -servers or
                    -sentinels %d; groupcache %d)
  -workers n        requests worked on at the same time; also MaxIdleConns of both memcached clients (default 128)
  -keys n           different keys, by a Zipf distribution (default 20000; groupcache %d; autorefresh %d, fewer if
                    shorter than 48s)
  -value-size n     bytes per value (default 100)
  -timeout d        time limit of each call, for both clients (default 500ms)
  -db-cost d        memcached, groupcache, autorefresh: time that one load from the simulated database takes (default 5ms)
  -db-slots n       memcached, groupcache, autorefresh: loads that it does at a time; others wait (default 8)

servers of its own
  -in-process       use servers in this process even if memcached or redis-server is installed (default false: what is in
                    PATH); groupcache has processes of cachedrill in any case

your servers
  -servers list     memcached: addresses, host:port separated by commas (default none: servers of its own)
  -faults           memcached: reach each server through a proxy that refuses, hangs, delays and cuts (default false: load
                    only)
  -sentinels list   sentinel: addresses of sentinels, host:port separated by commas (default none: a cluster of its own)
                    Load only: failing your cluster over is yours to command.
  -name name        sentinel: what they call the primary (default mymaster)
  -user name        sentinel: who logs in to the servers (default: nobody, or the default user); the password is in the
                    environment variable CACHEDRILL_PASSWORD
  -sentinel-user name
                    sentinel: who logs in to the sentinels; the password is in CACHEDRILL_SENTINEL_PASSWORD
  -tls              sentinel: connections to sentinels and servers are encrypted (default false)
  -tls-ca file      sentinel: certificates, in PEM form, of those who vouch for them (default: those of the system)
  -max-bytes n      most bytes stored in all, both sides together (default 16MiB)
                    Keys begin with "cachedrill:", expire, and are deleted at the end.
  -yes              memcached: go on without a question where a server evicts, and where one is full (default false)

what you see
  -listen addr      address of the live page (default 127.0.0.1:0, a free port)
  -no-web           no live page (default false)
  -open             open the live page in a browser (default: only on a terminal with a display)
  -metrics addr     serve the Prometheus metrics of the client under test at http://addr/metrics (default off); of
                    groupcache those of all its processes that answer
  -out folder       where the report goes: cachedrill-report.html, .json and .md (default a new temporary folder)
  -version          print the version and exit
  -h                print this and exit

exit status
  0    all promises kept
  1    a promise broken
  2    wrong usage
  3    the drill could not be carried out: no server answers, an address is in use, the report cannot be written
  130  interrupted by Ctrl-C or a SIGTERM; the report has what was measured until then
`

// help is what -h prints. Flags not given here do not exist; a test compares.
func help() string {
	return fmt.Sprintf(helpText, ownDuration, foreignDuration, foreignFaultsDuration, outage.Rules().Default,
		failover.OwnRules().Default, failover.ForeignRules().Default, stampede.Rules().Default, staleness.Rules().Default, ownRate, foreignRate, stampede.Rate, stampede.Keys, staleness.Keys)
}
