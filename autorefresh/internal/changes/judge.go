package changes

import "time"

// slack is how far apart two times may be that are the same: each process tells them by its own
// clock, at different moments.
const slack = int64(time.Millisecond)

// Kind is the meaning of a tombstone.
type Kind uint8

// Meanings of tombstones for values from before them.
const (
	Unknown     Kind = iota // they are not good: by a process of before, which says no more and not when
	Deleted                 // the user has deleted the item
	Replaced                // the user has set another value, which follows
	Lost                    // the same, but the value will not come
	Invalidated             // they are not to be relied on
)

// Held is the cache's state of a key.
type Held struct {
	LoadedAt int64
	Negative bool // it has no value: the source had none
}

// Seen is the second level's state of it.
type Seen struct {
	Value    bool
	LoadedAt int64 // of the value
	Doubted  bool  // there is one that cannot be read, or relied on

	Stone bool // a tombstone of another process
	Kind  Kind
	At    int64 // when what it tells was done
	Lag   int64 // how much later it was told
	Skew  int64 // by how much the clocks may be apart
	Vague bool  // Lag is by two clocks
	// Prior is what an invalidation has taken the place of, nil if nothing.
	Prior *Prior
}

// Prior is the change before an invalidation, which still counts.
type Prior struct {
	Kind Kind
	At   int64
}

// Verdict is the fate of the cache's item.
type Verdict uint8

// What becomes of it.
const (
	Keep       Verdict = iota // it stays
	Adopt                     // the value of the second level takes its place
	Drop                      // it leaves
	Refresh                   // the source is asked for it now
	Invalidate                // the source is asked for it within a period
	Again                     // the second level is looked at once more
	Verdicts
)

// String names the verdict, as metrics have it.
func (v Verdict) String() string {
	if v >= Verdicts {
		return "unknown"
	}
	return [Verdicts]string{"kept", "adopted", "dropped", "refreshed", "invalidated", "awaited"}[v]
}

// Judge tells the fate of the cache's item. A tombstone counts against what began before this
// process was told of it, whatever the clocks of the others say; by its date, if nobody has told.
func Judge(have Held, found Seen, told int64, tries int) Verdict {
	if v := judgePrior(have, found, told); v != Keep {
		return v
	}
	newer := found.Value && found.LoadedAt > have.LoadedAt+slack
	before := told - found.Lag
	switch told {
	case ByDate:
		before = found.At - 1
	case BySweep: // if both are of the same moment, nobody knows which came first
		before = found.At + slack
	}
	current := have.LoadedAt <= before
	follows := found.Value && found.LoadedAt >= found.At // the value came after the tombstone
	unsure := (told == BySweep || found.Vague) && found.Kind != Unknown && have.LoadedAt <= before+found.Skew
	switch {
	case found.Stone && current:
	case found.Stone && unsure && (!newer || !follows):
		return doubtful(have, found.Kind)
	default:
		return adoptIf(newer, have)
	}
	switch found.Kind {
	case Replaced:
		return replaced(have, found, tries)
	case Lost, Unknown:
		switch {
		case have.Negative:
			return Drop
		case newer && (follows || found.Kind == Unknown):
			return Adopt
		}
		return Refresh
	}
	switch {
	case follows, have.Negative:
		return adoptIf(newer, have)
	case found.Kind == Deleted:
		return Drop
	}
	return Invalidate
}

// replaced is Judge of a tombstone that announces a value. One that cannot be read, or relied on,
// is there to stay: it is not waited for another.
func replaced(have Held, found Seen, tries int) Verdict {
	switch {
	case have.Negative:
		return Drop
	case found.Value && found.LoadedAt >= found.At:
		return Adopt
	case tries < mostTries && !found.Doubted:
		return Again
	}
	return Refresh
}

// judgePrior is Judge of what an invalidation has taken the place of, Keep if that says nothing.
func judgePrior(have Held, found Seen, told int64) Verdict {
	if !found.Stone || found.Prior == nil {
		return Keep
	}
	prior := Seen{Value: found.Value, LoadedAt: found.LoadedAt, Stone: true, Kind: Lost, At: found.Prior.At, Skew: found.Skew, Vague: true}
	if found.Prior.Kind == Deleted {
		prior.Kind = Deleted
	} else if isSet := max(have.LoadedAt-prior.At, prior.At-have.LoadedAt) <= slack; isSet || have.LoadedAt > prior.At+found.Skew {
		return Keep // it is the value that was set, or a newer one
	} else if have.LoadedAt > prior.At && !have.Negative {
		return Refresh // or older, by another clock
	}
	prior.Lag = found.At + found.Lag - prior.At
	if v := Judge(have, prior, told, 0); v == Drop || v == Refresh {
		return v
	}
	return Keep
}

// doubtful judges a value got just after a change of which nobody has told: by
// another clock it may be from before.
func doubtful(have Held, kind Kind) Verdict {
	switch {
	case !have.Negative && kind == Invalidated:
		return Invalidate
	case !have.Negative:
		return Refresh
	case kind == Deleted || kind == Invalidated:
		return Keep
	default:
		return Drop
	}
}

// adoptIf adopts a value that is newer; a negative entry gives way to it.
func adoptIf(newer bool, have Held) Verdict { //nolint:revive // the flag is a finding
	switch {
	case !newer:
		return Keep
	case have.Negative:
		return Drop
	}
	return Adopt
}
