package stampede

import (
	"fmt"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// Describe says in words which drill this is.
func (s *Stampede) Describe(r *record.Record) {
	o := s.options
	r.Scenario = record.Groupcache
	r.Settings = append(o.Settings(fmt.Sprintf("%.0f %% change a value and remove its key", 100*updates), "", "of the context of each read and removal, on both sides"),
		record.Entry{Name: "processes", Value: fmt.Sprintf("%d per side", processes), About: "each has room for all keys, and for a seventh as many copies of keys that others own"},
		record.Entry{Name: "herds", Value: fmt.Sprintf("%d callers", herdCallers), About: "who ask for one key at the same moment that nobody has asked for, in all processes that are up; three times in each phase, and at the moment of a fault"},
		record.Entry{Name: "database", Value: fmt.Sprintf("%v a load, %d at a time", o.Cost, o.Slots), About: fmt.Sprintf("at most %.0f loads/s; more wait. It is in the drill's own process, one for each side, and reached over HTTP", float64(o.Slots)/o.Cost.Seconds())})
	r.Conditions = s.conditions()
	shares := workload.Shares(s.Shape(), s.owners, processes)
	for i := range processes {
		r.Servers = append(r.Servers, record.Server{Name: nameOf(i), Kind: "cachedrill itself", Share: shares[i]})
	}
}

func (s *Stampede) conditions() []string {
	return []string{
		fmt.Sprintf("Each side has its own database and %d processes of cachedrill itself on this machine, which share a cache over HTTP; the same seed gives both sides the same requests at the same moments, and the herds come at the same moments. Killed is SIGKILL, hung is SIGSTOP.", processes),
		"Requests arrive whether or not the application keeps up. One that finds all workers busy waits in a queue; latency counts from its arrival. A request that waited longer than the patience is given up, counts as an error, and enters the latencies with the patience. Callers of herds count as requests.",
		fmt.Sprintf("As a load balancer would, the drill gives requests in turn to the processes that are up: what is to be killed or hung first gets no new ones, and what is up again gets requests after %v, or a quarter of the phase if that is less.", backAfter),
		"plain is a peer cache written plainly in the way of the original groupcache, not the original itself: consistent hashing, one load for all who ask a process at the same time, least recently used values give way, what others own is copied. It asks the owner for as long as the caller's deadline allows, loads itself if that ends otherwise than by an answer, has no breaker, and removes a key at the owner first and, if that succeeds, at the others. The hashing, the sharing of loads and the LRU are packages of holdfast with the original's API.",
		"holdfast is package groupcache with its defaults, but for the hash function, and the room counted in keys and values alone. Both sides have the same ring (50 points, xxHash), connections and limits, and keys of the same popularity belong to the same process on both.",
	}
}
