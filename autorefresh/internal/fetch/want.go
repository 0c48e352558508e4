package fetch

import (
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Outcome is what became of one key of a call.
type Outcome uint8

// Outcomes.
const (
	Updated   Outcome = iota
	Unchanged         // as it was
	Missing           // the source has it no more
	Terminal          // final
	Failed            // keeps its value and backs off
	Adopted           // taken from the second level
	Leased            // another process is at it: to be looked at again soon
	Postponed         // the source was not asked
	Outcomes
)

// String names the outcome, as metrics do.
func (o Outcome) String() string {
	return [Outcomes]string{"updated", "unchanged", "gone", "terminal", "failed", "adopted", "leased", "postponed"}[o]
}

// Result is an outcome with what belongs to it.
type Result[V any] struct {
	Outcome  Outcome
	Final    bool  // the value is
	Shielded bool  // adopted although it is old
	Value    *V    // nil if there is no new one
	Err      error // of a failure
	LoadedAt int64 // when the call began
	End      int64 // when the value ends, 0 if it does not; with no new one, 0 if nothing is said of it
}

// Adoption is the result that a value of the second level is.
func Adoption[K comparable, V any](s level.Stored[K, V]) Result[V] {
	return Result[V]{Outcome: Adopted, Value: s.Value, LoadedAt: s.LoadedAt, Final: s.Terminal, End: s.End}
}

// FailAll makes failures of wants.
func FailAll[K comparable, V any](wants []*Want[K, V], err error, now int64) {
	for _, w := range wants {
		w.Result = Result[V]{Outcome: Failed, Err: err, LoadedAt: now}
	}
}

// Want is a key whose value is to be got, and its state so far.
type Want[K comparable, V any] struct {
	Key    K
	Entry  *timetable.Entry[K, V] // which is refreshed; nil in a load
	End    int64                  // when the value of the entry ends, 0 if it does not
	Newer  int64                  // a value of the second level has to be newer than this
	Known  level.Stored[K, V]     // the second level's value, be it old
	Result Result[V]
}

const (
	// OnlySource is the Want.Newer of what has to be got from the source, whatever the second level
	// has.
	OnlySource = math.MaxInt64
	// AnyAge is that of what the cache has nothing of.
	AnyAge = math.MinInt64
)

// KeysOf are the keys of wants.
func KeysOf[K comparable, V any](wants []*Want[K, V]) []K {
	keys := make([]K, len(wants))
	for i, w := range wants {
		keys[i] = w.Key
	}
	return keys
}
