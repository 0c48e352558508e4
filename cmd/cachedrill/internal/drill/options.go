package drill

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// Patience is how long a caller waits for an answer.
const Patience = time.Second

// Late is when an answer is late: its user has noticed.
const Late = 100 * time.Millisecond

// What no flag changes.
const (
	zipf   = 1.1
	warmUp = time.Second

	usualSamples   = 96
	mostSamples    = 480
	shortestSample = 100 * time.Millisecond
	longestSample  = 500 * time.Millisecond // unless there were more than mostSamples

	worthTelling = 20.0 // milliseconds that the load itself was late
)

// Options are what all scenarios have in common. All fields but TTL, Budget, Promises and More must
// be set.
type Options struct {
	Seed      uint64
	Duration  time.Duration // of all phases together
	Rate      int           // arrivals per second and side
	Workers   int           // per side
	Keys      int
	ValueSize int           // bytes
	Timeout   time.Duration // of one call of a client
	TTL       time.Duration // of stored values; 0: they have none
	Run       string        // part of the keys that no other drill has
	Budget    *atomic.Int64 // bytes that may still be stored; nil: no limit
	Promises  []promise.Promise
	More      bool // another drill follows
}

// Shape returns the pattern of the applications' requests, given the share of updates.
func (o Options) Shape(updates float64) workload.Shape {
	return workload.Shape{Seed: o.Seed, Rate: o.Rate, Keys: o.Keys, Zipf: zipf, Updates: updates}
}

// interval returns how long a sample is.
func (o Options) interval() time.Duration {
	each := (o.Duration / usualSamples).Round(10 * time.Millisecond)
	each = min(max(each, shortestSample), longestSample)
	return max(each, o.Duration/mostSamples)
}

// Settings returns the options in words. shares says what the requests are, workers and limit what
// else these mean.
func (o Options) Settings(shares, workers, limit string) []record.Entry {
	entries := []record.Entry{
		{Name: "rate", Value: fmt.Sprintf("%d/s per side", o.Rate), About: "requests, evenly spaced; " + shares},
		{Name: "keys", Value: strconv.Itoa(o.Keys), About: fmt.Sprintf("popularity by Zipf, exponent %.1f; stored before the start", zipf)},
		{Name: "value size", Value: fmt.Sprintf("%d B", o.ValueSize)},
		{Name: "workers", Value: fmt.Sprintf("%d per side", o.Workers), About: "requests worked on at the same time" + workers},
		{Name: "time limit", Value: o.Timeout.String(), About: limit},
		{Name: "patience", Value: Patience.String(), About: "a request that has no answer by then has failed; after that its caller has gone"},
		{Name: "late", Value: Late.String(), About: "a request that takes longer; what has failed by then, at once, is an error instead"},
		{Name: "duration", Value: o.Duration.String(), About: "of all phases together"},
	}
	if o.TTL > 0 {
		entries = append(entries, record.Entry{Name: "time to live", Value: o.TTL.String(), About: "of stored values: longer than the drill"})
	}
	return entries
}
