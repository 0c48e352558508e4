package staleness

import (
	"fmt"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// Describe says in words which drill this is.
func (s *Staleness) Describe(r *record.Record) {
	o := s.options
	r.Scenario = record.Autorefresh
	r.Versions = append(r.Versions, drill.VersionOf("otter", "github.com/maypok86/otter/v2")...)
	r.Versions = append(r.Versions, drill.VersionOf("gomemcache", "github.com/bradfitz/gomemcache")...)
	r.Settings = append(o.Settings("all of them reads", "", "of the context of each read, of each call of the source and of the memcached clients, on both sides"),
		record.Entry{Name: "period", Value: o.period().String(), About: "how old values may grow, on both sides"},
		record.Entry{Name: "processes", Value: fmt.Sprintf("%d per side", processes), About: fmt.Sprintf("each has room for %d values; they share a second level", o.local())},
		record.Entry{Name: "source", Value: fmt.Sprintf("%v a call, %d at a time", o.Cost, o.Slots), About: fmt.Sprintf("at most %.0f calls/s; more wait. While it is slow a call takes %v", float64(o.Slots)/o.Cost.Seconds(), slowdown*o.Cost)},
		record.Entry{Name: "served at most", Value: o.maxStale().String(), About: "after a value was got from the source, on both sides"})
	r.Conditions = s.conditions()
	r.Servers = []record.Server{
		{Name: "source", Kind: "simulated"},
		{Name: "second level", Kind: o.Rig.Kinds[0]},
	}
}

func (s *Staleness) conditions() []string {
	o := s.options
	return []string{
		fmt.Sprintf("Each side has its own source and memcached, and %d caches in this process, which stand for as many processes of an application and take turns; the same seed gives both sides the same requests at the same moments.", processes),
		"Requests arrive whether or not the application keeps up. One that finds all workers busy waits in a queue; latency counts from its arrival. A request that waited longer than the patience is given up, counts as an error, and enters the latencies with the patience.",
		"plain is otter with its own loader, written as it usually is: a read of a value older than the period is answered with it and has it loaded in the background; the loader looks in memcached, and if there is nothing, asks the source and stores the value in memcached for a period. sturdyc works alike.",
		fmt.Sprintf("holdfast is package autorefresh with its defaults, the same period, room and limits, and package memcachedstore over memcached. While the second level is down each process makes at most %.0f calls/s; a breaker that is open tries again after %v at most.", o.shieldRate(), o.period()/2),
		"The age of an answer counts from the moment at which the source gave the value, whichever way it took.",
	}
}
