package follow

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Follow has the item of a key follow the second level.
func (f *Follower[K, V]) Follow(w changes.Wanted[K], s *level.Sight[K, V], luck float64, met *changes.Met[K]) changes.Verdict {
	s.Key = w.Key
	dated := s.LoadedAt + s.Ahead                           // by the clock that has dated the tombstone, too
	isOwn := s.Marked && s.Stone.Own && dated == s.Stone.At // what this process has set
	seen := changes.Seen{Value: s.Value != nil && !isOwn, LoadedAt: dated, Doubted: s.Doubted, Skew: int64(f.Period / 10)}
	if s.Marked {
		noteStone(&seen, s.Stone)
	}
	e, ok := f.Items.Storage.Peek(w.Key)
	if !ok {
		if seen.Stone && w.Told > changes.BySweep {
			f.Life.Lock()
			f.Loads.DisownLocked(w.Key)
			f.Life.Unlock()
		}
		return changes.Keep
	}
	was := e.LoadedAt()
	seen.Skew = met.Skew(w.Key, seen, was, f.Life.Now())
	isSame := func() bool { return e.LoadedAt() == was } // not if the user, or a call, has changed it since
	verdict := changes.Judge(changes.Held{LoadedAt: was, Negative: e.Has(timetable.Absent)}, seen, w.Told, w.Tries)
	switch verdict {
	case changes.Adopt:
		if !f.Items.Adopt(e, s.Stored, luck, isSame) {
			return changes.Again
		}
	case changes.Drop:
		f.Items.Storage.DropIf(e, isSame)
	case changes.Refresh:
		f.Items.DoubtNow(e)
	case changes.Invalidate:
		f.Items.Doubt(e)
	default:
	}
	return verdict
}

// noteStone notes a tombstone, or the one hidden behind this process's own.
func noteStone(seen *changes.Seen, s tombstone.Stone) {
	if s.Own {
		if s.Prior == nil {
			return
		}
		s.Prior.Lag = s.At + s.Lag - s.Prior.At
		s = *s.Prior
		seen.Vague = true
	}
	seen.Stone, seen.Kind, seen.At, seen.Lag = !s.Own, kindOf(s.Kind), s.At, s.Lag
	if s.Prior != nil && !s.Prior.Own {
		seen.Prior = &changes.Prior{Kind: kindOf(s.Prior.Kind), At: s.Prior.At}
	}
}

func kindOf(k tombstone.Kind) changes.Kind {
	switch k {
	case tombstone.Deleted:
		return changes.Deleted
	case tombstone.Replaced:
		return changes.Replaced
	case tombstone.Lost:
		return changes.Lost
	case tombstone.Invalidated:
		return changes.Invalidated
	default:
		return changes.Unknown
	}
}

// lookUp looks up the keys that may have changed, until the end.
func (f *Follower[K, V]) lookUp() {
	run := f.Life.Run()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		reportAt := f.report()
		f.mu.Lock()
		look, at := f.book.Next(f.Life.Now())
		f.mu.Unlock()
		if len(look.Keys) > 0 || look.All {
			err := observe.Aside(errEnded, func() error { // the store may end its goroutine
				return safe.Do("follow", func() error { return f.obey(run, look) })
			})
			f.mu.Lock()
			if err != nil {
				f.book.Fail(look, f.Life.Now())
			} else {
				f.book.Done()
			}
			f.mu.Unlock()
		} else {
			timer.Reset(time.Duration(min(at, reportAt) - f.Life.Now()))
			select {
			case <-timer.C:
			case <-f.kick:
			case <-run.Done():
			}
		}
		if run.Err() != nil {
			return
		}
	}
}

// errEnded says that what was to follow did not return.
var errEnded = errors.New("autorefresh: the store, the codec or a function of the user's ended its goroutine")

// errBlind says that the second level could not be asked.
var errBlind = errors.New("autorefresh: the second level cannot be looked at")

// obey looks keys up, and has the cache follow the second level.
func (f *Follower[K, V]) obey(run context.Context, look changes.Look[K]) error {
	if look.All {
		stone, marked, blind := f.Level.ExamineAll(run)
		if blind {
			return errBlind
		}
		if marked && !stone.Own && stone.At > f.allAt {
			f.allAt = stone.At
			f.Level.DistrustBefore(stone.At)
			f.Items.InvalidateBefore(stone.At)
		}
	}
	if len(look.Keys) == 0 {
		return nil
	}
	keys := make([]K, len(look.Keys))
	for i, w := range look.Keys {
		keys[i] = w.Key
	}
	sights, blind := f.Level.Examine(run, keys)
	if blind {
		return errBlind
	}
	luck := rand.Float64() // the same for all of them, which stay together
	for i, w := range look.Keys {
		verdict := f.Follow(w, &sights[i], luck, f.met)
		if verdict == changes.Again {
			f.mu.Lock()
			f.book.Again(w, f.Life.Now())
			f.mu.Unlock()
		}
		f.counts.notices[verdict].Add(1)
	}
	return nil
}
