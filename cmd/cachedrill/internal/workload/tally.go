package workload

import (
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/histogram"
)

// Tally has the counts of one side in some stretch of time.
type Tally struct {
	Latency      histogram.Histogram // of reads, from their arrival; reads given up count with their patience
	Age          histogram.Histogram // of the values that were served, where that is known
	TooOld       int                 // of these, older than was asked for
	Reads        int                 // ended, answered or not
	Hits, Misses int                 // answers of the cache
	CacheErrors  int                 // answers of the client that are errors; the application may have its answer from elsewhere
	Unanswered   int                 // reads, and writes, that were given up, or answered after the patience
	Errors       int                 // reads, and writes, for which the application had an error or no answer in time, each once
	Loads        int                 // from the database, or calls of the source
	Needed       int                 // loads that no cache could avoid
	Stale        int                 // hits with a value that was replaced more than the grace ago
	FailedWrites int
	Writes       int           // ended, acknowledged or not
	Acknowledged int           // writes that the client says are done
	Herds        int           // that have ended
	HerdLoads    int           // of their keys
	WorstHerd    int           // the most loads that one herd caused
	Late         time.Duration // how much too late the load itself was at worst, because the machine was busy
}

// Requests returns how many reads and writes have ended.
func (t *Tally) Requests() int { return t.Reads + t.Writes }

// Answers returns how many of them were answered in time.
func (t *Tally) Answers() int { return t.Requests() - t.Unanswered }

// HitRatio returns the share of hits among the reads that asked the cache; 0 if there were none.
func (t *Tally) HitRatio() float64 {
	return ratio(t.Hits, t.Hits+t.Misses+t.CacheErrors)
}

// smallestLoad is a share of the reads: fewer needed loads count as that many when loads are
// compared.
const smallestLoad = 0.05

// LoadRatio returns the loads as a multiple of those that no cache could avoid, the latter taken
// for at least 5 % of the reads: three loads instead of one are no stampede.
func (t *Tally) LoadRatio() float64 {
	if t.Loads == 0 {
		return 0
	}
	return float64(t.Loads) / max(float64(t.Needed), smallestLoad*float64(t.Reads), 1)
}

// LoadFactor returns the loads of a read as a multiple of those of an earlier tally, in which
// nothing was wrong: what the database feels. There are more if servers are down, whether or not a
// cache could avoid them. 0 if there was none to compare with.
func (t *Tally) LoadFactor(healthy *Tally) float64 {
	usual := ratio(max(healthy.Loads, 1), healthy.Reads)
	if usual == 0 {
		return 0
	}
	return ratio(t.Loads, t.Reads) / usual
}

func ratio(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// outcome is what became of one read. The counts are 0 or 1.
type outcome struct {
	phase                               int
	latency                             time.Duration
	hits, misses, cacheErrors, tooLates int
	stale                               int
}

// Recorder counts per phase and for the window since it was last asked. It is safe for concurrent
// use.
type Recorder struct {
	mu     sync.Mutex
	window Tally   // guarded by mu
	phases []Tally // guarded by mu; by the phase in which a read arrived
}

// NewRecorder returns a recorder of phases phases.
func NewRecorder(phases int) *Recorder { return &Recorder{phases: make([]Tally, phases)} }

// Window stores the tally since the last call in into, and begins a new one.
func (r *Recorder) Window(into *Tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*into = r.window
	r.window = Tally{}
}

// Phase stores the tally of a phase so far in into.
func (r *Recorder) Phase(phase int, into *Tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*into = r.phases[phase]
}

// Count changes the window and, unless it is negative, the phase.
func (r *Recorder) Count(phase int, change func(*Tally)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.window)
	if phase >= 0 {
		change(&r.phases[phase])
	}
}

func (r *Recorder) read(o outcome) {
	r.Count(o.phase, func(t *Tally) {
		t.Reads++
		t.Latency.Add(o.latency)
		t.Hits += o.hits
		t.Misses += o.misses
		t.CacheErrors += o.cacheErrors
		t.Unanswered += o.tooLates
		t.Errors += o.tooLates // the client's errors are not the application's answers
		t.Stale += o.stale
	})
}
