// Package drill drives the same load through two clients while servers are broken and repaired, and records what their
// callers notice.
package drill

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// What no flag changes.
const (
	updates   = 0.02
	zipf      = 1.1
	patience  = time.Second
	grace     = time.Second
	warmUp    = time.Second
	fillTime  = 15 * time.Second
	watchEach = 5 * time.Millisecond

	usualSamples   = 96
	mostSamples    = 480
	shortestSample = 100 * time.Millisecond
	longestSample  = 500 * time.Millisecond // unless there were more than mostSamples

	worthTelling = 20.0 // milliseconds that the load itself was late
	smallestLoad = 0.05 // of the reads: fewer needed loads count as that many when loads are compared
)

// Options say what to drill. All fields but Budget and Promises must be set.
type Options struct {
	Rig       *rig.Rig
	Scenario  string
	Seed      uint64
	Duration  time.Duration // of all phases together
	Rate      int           // arrivals per second and side
	Workers   int           // per side
	Keys      int
	ValueSize int // bytes
	Timeout   time.Duration
	DBCost    time.Duration
	DBSlots   int
	TTL       time.Duration
	Run       string        // part of the keys that no other drill has
	Budget    *atomic.Int64 // bytes that may still be stored; nil: no limit
	Promises  []promise.Promise
}

func (o Options) shape() workload.Shape {
	return workload.Shape{Seed: o.Seed, Rate: o.Rate, Keys: o.Keys, Zipf: zipf, Updates: updates}
}

// interval returns how long a sample is.
func (o Options) interval() time.Duration {
	each := (o.Duration / usualSamples).Round(10 * time.Millisecond)
	each = min(max(each, shortestSample), longestSample)
	return max(each, o.Duration/mostSamples)
}

func (o Options) settings() []record.Entry {
	return []record.Entry{
		{Name: "rate", Value: fmt.Sprintf("%d/s per side", o.Rate), About: fmt.Sprintf("requests, evenly spaced; %.0f %% are updates, the others reads", 100*updates)},
		{Name: "keys", Value: strconv.Itoa(o.Keys), About: fmt.Sprintf("popularity by Zipf, exponent %.1f; stored before the start", zipf)},
		{Name: "value size", Value: fmt.Sprintf("%d B", o.ValueSize)},
		{Name: "workers", Value: fmt.Sprintf("%d per side", o.Workers), About: "requests worked on at the same time; also MaxIdleConns of both clients"},
		{Name: "time limit", Value: o.Timeout.String(), About: "Timeout of both clients"},
		{Name: "patience", Value: patience.String(), About: "a read that has no answer by then has failed"},
		{Name: "database", Value: fmt.Sprintf("%v per load, %d at a time", o.DBCost, o.DBSlots), About: fmt.Sprintf("at most %.0f loads/s; more wait", float64(o.DBSlots)/o.DBCost.Seconds())},
		{Name: "duration", Value: o.Duration.String(), About: "of all phases together"},
		{Name: "time to live", Value: o.TTL.String(), About: "of stored values: longer than the drill"},
	}
}

func conditions(r *rig.Rig) []string {
	c := []string{
		"Both clients run at the same time in one process, each with its own workers, queue, simulated database and keys; the same seed gives both the same requests at the same moments.",
		"Requests arrive whether or not the application keeps up. One that finds all workers busy waits in a queue; latency counts from its arrival. A read that waited longer than the patience is given up, counts as an error, and enters the latencies with the patience.",
		"The application gets; on a miss or an error it loads from the database and answers; after a miss it stores the value. After an error it does not try to store, which spares the plain client a second time-out. When a value changes it deletes the key.",
		"plain is gomemcache as it is, with MaxIdleConns raised from 2 to the number of workers; holdfast has the same time limit and its defaults.",
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
