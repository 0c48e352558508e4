package record

import (
	"slices"
	"sync"
)

// Kinds of updates.
const (
	OnPhase  = "phase"  // the Phase and its index
	OnSample = "sample" // a Sample
	OnEvent  = "event"  // an Event
	OnEnd    = "end"    // the whole Record, complete
)

// Update is a change of a record.
type Update struct {
	Kind string
	Data any
}

// PhaseUpdate is the Data of an OnPhase update.
type PhaseUpdate struct {
	Index int    `json:"index"`
	Phase Phase  `json:"phase"`
	Story *Story `json:"story"` // as it is now
}

// Journal is a record that grows and tells its followers. It has no useful zero value; NewJournal
// makes one. It is safe for concurrent use.
type Journal struct {
	mu        sync.Mutex
	record    Record                   // guarded by mu
	followers map[chan Update]struct{} // guarded by mu; nil when the record is complete
}

// NewJournal begins a journal with the record before the start.
func NewJournal(r Record) *Journal {
	r.Schema, r.Verdict = Schema, Running
	return &Journal{record: r, followers: make(map[chan Update]struct{})}
}

// Snapshot returns the record as it is now. It shares nothing with the journal that changes.
func (j *Journal) Snapshot() Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.snapshotLocked()
}

func (j *Journal) snapshotLocked() Record {
	r := j.record
	r.Phases = slices.Clone(r.Phases)
	r.Events = slices.Clone(r.Events)
	r.Samples = slices.Clone(r.Samples)
	return r
}

// Follow returns the record as it is now and the changes from then on. The channel is closed after
// OnEnd, by stop, and when its buffer of size updates overflows: a follower that is too slow starts
// again.
func (j *Journal) Follow(size int) (now Record, updates <-chan Update, stop func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ch := make(chan Update, size)
	if j.followers == nil {
		close(ch)
		return j.snapshotLocked(), ch, func() {}
	}
	j.followers[ch] = struct{}{}
	return j.snapshotLocked(), ch, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.dropLocked(ch)
	}
}

func (j *Journal) dropLocked(ch chan Update) {
	if _, ok := j.followers[ch]; ok {
		delete(j.followers, ch)
		close(ch)
	}
}

func (j *Journal) tellLocked(u Update) {
	for ch := range j.followers {
		select {
		case ch <- u:
		default:
			j.dropLocked(ch)
		}
	}
}

// Phase returns phase i as it is now.
func (j *Journal) Phase(i int) Phase {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.record.Phases[i]
}

// SetPhase replaces phase i.
func (j *Journal) SetPhase(i int, p Phase) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.record.Phases[i] = p
	j.record.Story = NewStory(&j.record)
	j.tellLocked(Update{OnPhase, PhaseUpdate{i, p, j.record.Story}})
}

// AddSample appends s.
func (j *Journal) AddSample(s Sample) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.record.Samples = append(j.record.Samples, s)
	j.record.Elapsed = s.T
	j.tellLocked(Update{OnSample, s})
}

// AddEvent appends e.
func (j *Journal) AddEvent(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.record.Events = append(j.record.Events, e)
	j.tellLocked(Update{OnEvent, e})
}

// Finish changes the record a last time, tells the followers and lets them go. The second call does
// nothing.
func (j *Journal) Finish(change func(*Record)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.followers == nil {
		return
	}
	change(&j.record)
	j.record.Story = NewStory(&j.record)
	j.tellLocked(Update{OnEnd, j.snapshotLocked()})
	for ch := range j.followers {
		close(ch)
	}
	j.followers = nil
}
