package failover

import (
	"fmt"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// Describe says in words which drill this is.
func (f *Failover) Describe(r *record.Record) {
	o := f.options
	r.Scenario = record.Sentinel
	r.Versions = append(r.Versions, drill.VersionOf("radix", "github.com/mediocregopher/radix/v4")...)
	r.Settings = o.Settings(fmt.Sprintf("%.0f %% are writes of keys that are never written twice, the others reads", 100*writes),
		"", "of the context of each call, on both sides")
	r.Conditions = f.conditions()
	for _, s := range f.watch.servers {
		r.Servers = append(r.Servers, record.Server{Name: s.name, Kind: s.kind, Side: s.side, Addr: s.addr})
	}
}

func (f *Failover) conditions() []string {
	c := []string{
		"Both clients run at the same time in one process, each with its own workers, queue and keys; the same seed gives both the same requests at the same moments.",
		"Requests arrive whether or not the application keeps up. One that finds all workers busy waits in a queue; latency counts from its arrival. A request that waited longer than the patience is given up, counts as an error, and enters the latencies with the patience. Nothing is tried twice.",
		"plain is radix v4's own Sentinel client with its defaults, holdfast is package sentinel with its defaults; both get the same context with the same time limit for each call.",
		"Calls of the plain client may never return, whatever their contexts say. A worker waits for its call until the end of the phase. If calls are stuck then, the application is restarted: they are left behind and the client is made anew, so that each phase shows what that phase does.",
		"Every acknowledged write is noted. At the end of each phase, once the cluster has one primary and all running servers follow it, those missing at the primary are counted as lost, once each.",
	}
	if f.options.foreign() {
		return append(c, "Both sides used the same cluster; no faults were injected: failovers of clusters that others use are theirs to command.")
	}
	return append(c,
		"Writes that a primary acknowledged and had not replicated when it was killed, or hung, are lost whatever the client does: redis replicates after it has answered. So lost=0 is not about the phases “primary killed” and “primary hung”; min-replicas-to-write and WAIT are what redis has against that. In a planned failover a client can lose nothing if it stops writing in time.",
		fmt.Sprintf("Each side has its own cluster: a primary, %d replicas and %d sentinels, broken at the same moments. The sentinels are set to react faster than usual: the first after %v, the others after %v, so that they vote for the first one instead of each for itself, which would delay some failovers by seconds.", replicas, sentinels, downAfter, downAfterOther))
}
