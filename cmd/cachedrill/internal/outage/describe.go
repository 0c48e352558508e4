package outage

import (
	"fmt"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// Describe says in words which drill this is.
func (u *Outage) Describe(r *record.Record) {
	o := u.options
	r.Scenario = record.Memcached
	r.Versions = append(r.Versions, drill.VersionOf("gomemcache", "github.com/bradfitz/gomemcache")...)
	r.Settings = append(o.Settings(fmt.Sprintf("%.0f %% are updates, the others reads", 100*updates),
		"; also MaxIdleConns of both clients", "Timeout of both clients"),
		record.Entry{Name: "database", Value: fmt.Sprintf("%v per load, %d at a time", o.DBCost, o.DBSlots), About: fmt.Sprintf("at most %.0f loads/s; more wait", float64(o.DBSlots)/o.DBCost.Seconds())})
	r.Conditions = conditions(o)
	shares := workload.Shares(u.Shape(), u.owners, len(o.Rig.Kinds))
	for i, kind := range o.Rig.Kinds {
		r.Servers = append(r.Servers, record.Server{Name: rig.Name(i), Kind: kind, Share: shares[i]})
	}
}

func conditions(o Options) []string {
	r := o.Rig
	c := []string{
		"Both clients run at the same time in one process, each with its own workers, queue, simulated database and keys; the same seed gives both the same requests at the same moments.",
		"Requests arrive whether or not the application keeps up. One that finds all workers busy waits in a queue; latency counts from its arrival. A read that waited longer than the patience is given up, counts as an error, and enters the latencies with the patience.",
		"The application gets; on a miss or an error it loads from the database and answers; after a miss it stores the value. After an error of the client, which stands in a column of its own, it does not try to store, which spares the plain client a second time-out. When a value changes it deletes the key.",
		"plain is gomemcache as it is, with MaxIdleConns raised from 2 to the number of workers. holdfast has the same time limit.",
	}
	if o.own() {
		c = append(c, fmt.Sprintf("holdfast has a gutter: what belongs to a server that is down is kept on another for up to %v, so that the database is asked for it once and not each time. Else it has its defaults.", copiesLive))
	}
	switch {
	case r.Proxied:
		c = append(c, "The servers were reached through proxies in this process, which refused, hung, delayed and cut; the servers themselves were not touched and kept what they stored.")
	case !r.Breakable():
		c = append(c, "Both sides used the same servers; no faults were injected.")
	default:
		c = append(c, "Each side has its own servers, which are killed, restarted, stopped and resumed at the same moments.")
	}
	return c
}
