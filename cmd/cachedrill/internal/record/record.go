// Package record holds what a drill measured: the settings, the phases, the samples over time and
// the verdict. The live page draws its JSON form, which is also cachedrill-report.json.
package record

import "time"

// Schema is the version of the JSON form. It changes when a field changes its meaning or goes away.
const Schema = 1

// Verdicts of a drill.
const (
	Running     = "running"
	Kept        = "kept"
	Broken      = "broken"
	Interrupted = "interrupted"
)

// Record is a whole drill. Times are seconds since the begin of the first phase, latencies are
// milliseconds.
type Record struct {
	Schema     int       `json:"schema"`
	Tool       string    `json:"tool"`
	Scenario   string    `json:"scenario"`
	Started    time.Time `json:"started"`
	Duration   float64   `json:"duration_s"` // planned length of all phases
	Elapsed    float64   `json:"elapsed_s"`  // measured so far
	Seed       uint64    `json:"seed"`
	Verdict    string    `json:"verdict"`
	Machine    Machine   `json:"machine"`
	Versions   []Entry   `json:"versions"`
	Settings   []Entry   `json:"settings"`
	Servers    []Server  `json:"servers"`
	Phases     []Phase   `json:"phases"` // all that are planned; Start and End of coming ones are the plan
	Promises   []Promise `json:"promises"`
	Events     []Event   `json:"events"`
	Samples    []Sample  `json:"samples"`
	Story      *Story    `json:"story"`          // null while there is nothing to tell
	Conditions []string  `json:"conditions"`     // what a reader must know to judge the numbers
	More       bool      `json:"more,omitempty"` // the same run drills another scenario after this one
	Cut        bool      `json:"cut,omitempty"`  // it was to, but was interrupted
}

// Length returns how long all phases are together, in seconds, as far as that is known now.
func (r *Record) Length() float64 {
	if n := len(r.Phases); n > 0 {
		return max(r.Duration, r.Phases[n-1].End)
	}
	return r.Duration
}

// Machine says where the drill ran.
type Machine struct {
	Host string `json:"host"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPU  string `json:"cpu"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// Entry is a name, a value and its explanation.
type Entry struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	About string `json:"about,omitempty"`
}

// Server is one server, or the pair of equal ones that the two sides have.
type Server struct {
	Name  string  `json:"name"`
	Kind  string  `json:"kind"`
	Share float64 `json:"share"`          // of the reads, 0 to 1; 0 where that is not constant
	Side  string  `json:"side,omitempty"` // "plain" or "holdfast" for a server that only one of them has
	Addr  string  `json:"addr,omitempty"` // of a server that only one side has
}

// About says in words what belongs to the server.
func (s Server) About() string {
	if s.Share == 0 {
		return s.Addr
	}
	return Ratio(s.Share) + " of the reads"
}

// Phase is a part of the schedule and, once it has begun, its measurements.
type Phase struct {
	Name     string  `json:"name"`
	Title    string  `json:"title"`
	Fault    string  `json:"fault"`  // "", "killed", "dead", "hung", "slow" or "failover": what happens in it
	Server   int     `json:"server"` // index of the server that the phase is about; -1: none
	Start    float64 `json:"start_s"`
	End      float64 `json:"end_s"`
	Begun    bool    `json:"begun"`
	Late     float64 `json:"load_late_ms"` // how much too late the load itself was at worst
	Plain    Summary `json:"plain"`
	Holdfast Summary `json:"holdfast"`
}

// Summary is one side of one phase. Requests belong to the phase in which they arrive.
type Summary struct {
	Reads        int     `json:"reads"`
	AnswersRate  float64 `json:"answers_per_s"`
	P50          float64 `json:"p50_ms"`
	P90          float64 `json:"p90_ms"`
	P99          float64 `json:"p99_ms"`
	Max          float64 `json:"max_ms"`
	Unanswered   int     `json:"unanswered"` // requests without an answer in time
	Errors       int     `json:"errors"`     // requests without an answer in time, or with an error
	ErrorPercent float64 `json:"error_percent"`
	LatePercent  float64 `json:"late_percent"` // requests that took longer than the bound, or had no answer at all
	*CacheSummary
	*WriteSummary
	*AgeSummary
	*HerdSummary
}

// CacheSummary has the measurements of a cache.
type CacheSummary struct {
	HitRatio     float64 `json:"hit_ratio"` // hits among the reads that asked the cache
	Loads        int     `json:"loads"`     // database loads
	NeededLoads  int     `json:"needed_loads"`
	LoadRatio    float64 `json:"load_ratio"`   // Loads as a multiple of NeededLoads
	LoadFactor   float64 `json:"load_factor"`  // loads of a read, as a multiple of those in the first phase
	CacheErrors  int     `json:"cache_errors"` // reads to which the client returned an error that is not a miss
	Stale        int     `json:"stale"`        // reads answered with an outdated value
	StalePercent float64 `json:"stale_percent"`
	FailedWrites int     `json:"failed_writes"` // stores and deletions that failed
}

// WriteSummary has the measurements of writes that must not be lost.
type WriteSummary struct {
	Writes       int      `json:"writes"`
	Acknowledged int      `json:"acknowledged_writes"`
	Checked      *int     `json:"checked_writes"` // acknowledged writes looked for at the end of the phase, of earlier ones too; null: not looked yet
	Lost         *int     `json:"lost_writes"`    // acknowledged writes found missing at the end of the phase; null: not looked yet
	Gap          *float64 `json:"longest_gap_ms"` // the longest time without the acknowledgement of a write that was kept; null: not looked yet
}

// Sample is what happened in the interval that ends at T.
type Sample struct {
	T        float64  `json:"t"`
	Phase    int      `json:"phase"`
	Faults   []string `json:"faults"` // per server: "", "down", "killed", "dead", "hung" or "slow"; or its role, "primary" or "replica"
	Plain    Moment   `json:"plain"`
	Holdfast Moment   `json:"holdfast"`
}

// Moment is one side of one sample. Requests count when they end.
type Moment struct {
	AnswersRate float64 `json:"answers_per_s"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Max         float64 `json:"max_ms"`
	ErrorsRate  float64 `json:"errors_per_s"`
	LateRate    float64 `json:"late_per_s"` // requests that took longer than the bound
	// Breakers tell for each server whether the side asks it: "closed", "half-open" or "open".
	Breakers []string `json:"breakers,omitempty"`
	*CacheMoment
	*WriteMoment
	*AgeMoment
	*HerdMoment
}

// CacheMoment has the measurements of a cache.
type CacheMoment struct {
	HitRatio     float64 `json:"hit_ratio"`
	LoadsRate    float64 `json:"loads_per_s"`
	NeededRate   float64 `json:"needed_loads_per_s"`
	StaleRate    float64 `json:"stale_per_s"`
	FailedWrites float64 `json:"failed_writes_per_s"`
}

// WriteMoment has the measurements of writes that must not be lost.
type WriteMoment struct {
	AcknowledgedRate float64 `json:"acknowledged_per_s"`
	Primary          string  `json:"primary"` // the address that the client takes for the primary's; empty: none
}

// AgeSummary has the measurements of values that grow old. The age of an answer is the time since
// the source gave the value.
type AgeSummary struct {
	AgeP50        float64 `json:"age_p50_ms"`
	AgeP99        float64 `json:"age_p99_ms"`
	AgeMax        float64 `json:"age_max_ms"`
	AgeRatio      float64 `json:"age_ratio"` // AgeP99 as a multiple of the period
	TooOld        int     `json:"too_old"`   // answers older than 1.1 periods
	TooOldPercent float64 `json:"too_old_percent"`
	Calls         int     `json:"source_calls"`
	CallsRate     float64 `json:"source_calls_per_s"`
	CallRatio     float64 `json:"source_call_ratio"` // CallsRate as a multiple of that in the first phase
}

// AgeMoment is the same of a moment.
type AgeMoment struct {
	AgeP99    float64 `json:"age_p99_ms"`
	CallsRate float64 `json:"source_calls_per_s"`
}

// HerdSummary has the measurements of a cache that processes share.
type HerdSummary struct {
	DatabaseLoads       int     `json:"database_loads"`
	NeededDatabaseLoads int     `json:"needed_database_loads"`
	DatabaseLoadRatio   float64 `json:"database_load_ratio"`
	DatabaseLoadFactor  float64 `json:"database_load_factor"` // loads of a read, as a multiple of those in the first phase
	Herds               int     `json:"herds"`                // that came and ended
	HerdLoads           int     `json:"herd_loads"`           // that they caused
	WorstHerd           int     `json:"worst_herd_loads"`     // the most that one of them caused
	Outdated            int     `json:"outdated"`             // reads answered with an outdated value
	OutdatedPercent     float64 `json:"outdated_percent"`
	FailedRemoves       int     `json:"failed_removes"`
}

// HerdMoment is the same of a moment.
type HerdMoment struct {
	DatabaseRate       float64 `json:"database_loads_per_s"`
	NeededDatabaseRate float64 `json:"needed_database_loads_per_s"`
	OutdatedRate       float64 `json:"outdated_per_s"`
	HerdLoads          float64 `json:"herd_loads"` // of the last herd
}

// Event is something that happened, in words.
type Event struct {
	T    float64 `json:"t"`
	Text string  `json:"text"`
}

// Promise is a promise and how it ended.
type Promise struct {
	Text  string  `json:"text"`
	Worst float64 `json:"worst"` // in the unit of Text, milliseconds for latencies
	Shown string  `json:"shown"` // Worst in words
	Phase string  `json:"phase"` // the title of the phase that had it
	About string  `json:"about"` // the promise in words
	Kept  bool    `json:"kept"`
	Open  bool    `json:"open,omitempty"` // interrupted before anything about it was measured
}

// Ending says how the promises of a drill that has ended were kept.
func (r Record) Ending() string {
	switch r.Verdict {
	case Kept:
		return "all promises kept"
	case Broken:
		return "a promise was broken"
	default:
		return "interrupted; the promises are judged on what was measured"
	}
}
