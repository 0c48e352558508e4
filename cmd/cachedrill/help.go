package main

import (
	"fmt"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
)

// help is what -h prints. Flags not given here do not exist; a test compares.
func help() string {
	return fmt.Sprintf(`cachedrill rehearses a cache outage: the same load goes through a plain memcached client and through holdfast while one
server is killed and restarted and another one hangs and recovers. It shows what callers notice, live and in a report.

usage: cachedrill [flags]

examples
  cachedrill
        one minute on servers of its own; nothing has to be installed
  cachedrill -promise "p99<50ms,errors<0.1%%" -no-web -out drill
        for CI: exit status 1 if a promise is broken, the report in ./drill
  cachedrill -servers cache1:11211,cache2:11211 -faults
        against your servers; faults happen in a proxy on the way, the servers are not touched

the drill
  -scenario name    what to drill: memcached (default memcached)
  -duration d       all phases together, from 3s (default %v; with -servers %v, with -faults %v)
  -seed n           the same seed makes the same requests (default 1)
  -promise list     what holdfast must keep in every phase, separated by commas; "" for nothing
                    (default "%s")
                    p50, p90, p99, max   time from a read's arrival to its answer: p99<400ms
                    errors               reads without an answer within 1s, or with an error from the client: errors<0.1%%
                    stale                reads answered with a value replaced more than 1s before: stale<0.1%%
                    db                   database loads as a multiple of those no cache could avoid, the keys of a server
                                         that is down among them; fewer than 5%% of the reads count as 5%%: db<2x

the load, on each side
  -rate n           requests per second, evenly spaced, whether or not they are answered (default %d; with -servers %d)
  -workers n        requests worked on at the same time; also MaxIdleConns of both clients (default 128)
  -keys n           different keys, by a Zipf distribution (default 20000)
  -value-size n     bytes per value (default 100)
  -timeout d        time limit of both clients (default 500ms)
  -db-cost d        time that one load from the simulated database takes (default 5ms)
  -db-slots n       loads that it does at a time; others wait (default 8)

servers of its own
  -in-process       use servers in this process even if memcached is installed (default false: memcached if it is in PATH)

your servers
  -servers list     addresses, host:port separated by commas (default none: servers of its own)
                    Keys begin with "cachedrill:", expire, and are deleted at the end.
  -faults           reach each server through a proxy that refuses, hangs, delays and cuts (default false: load only)
  -max-bytes n      most bytes stored in all, both sides together (default 16MiB)

what you see
  -listen addr      address of the live page (default 127.0.0.1:0, a free port)
  -no-web           no live page (default false)
  -open             open the live page in a browser (default: only on a terminal with a display)
  -metrics addr     serve the Prometheus metrics of the client under test at http://addr/metrics (default off)
  -out folder       where the report goes: cachedrill-report.html, .json and .md (default a new temporary folder)
  -version          print the version and exit
  -h                print this and exit

exit status
  0    all promises kept
  1    a promise broken
  2    wrong usage
  3    the drill could not be carried out: no server answers, an address is in use, the report cannot be written
  130  interrupted by Ctrl-C or a SIGTERM; the report has what was measured until then
`, ownDuration, foreignDuration, foreignFaultsDuration, promise.Default, ownRate, foreignRate)
}
