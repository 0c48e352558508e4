package autorefresh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// watchAgain is after how long a Watcher is asked again that has returned.
const watchAgain = time.Second

// follower keeps a cache at what other processes change in the second level: the Watcher tells it
// which keys, and it looks them up.
type follower[K comparable, V any] struct {
	cache *Cache[K, V]
	kick  chan struct{} // there is more to look up

	mu      sync.Mutex
	book    *changes.Book[K] // guarded by mu
	hearing changes.Hearing  // guarded by mu

	allAt int64          // of the last tombstone of all keys that was obeyed
	met   changes.Met[K] // of lookUp alone
}

// followLocked begins to follow, if the options say so.
func (c *Cache[K, V]) followLocked() {
	watcher, ok := c.opts.Store.(Watcher)
	if !c.opts.Watch || !ok {
		return
	}
	f := &follower[K, V]{cache: c, kick: make(chan struct{}, 1), book: changes.NewBook[K](), allAt: math.MinInt64}
	c.meter.deaf.Store(true)
	c.life.tasks.Go(func() { f.watch(watcher) })
	c.life.tasks.Go(f.lookUp)
}

// watch has the store tell of changes, until the end.
func (f *follower[K, V]) watch(watcher Watcher) {
	run := f.cache.life.run
	defer f.cache.meter.deaf.Store(false) // after the end there is nothing to be heard
	for run.Err() == nil {
		err := safe.Do("Store.Watch", func() error { return watcher.Watch(run, f.tell) })
		f.lose(cmp.Or(err, errReturned))
		backoff.Pause(run, watchAgain)
	}
}

// errReturned is why nothing is heard of changes while Watch does not run.
var errReturned = errors.New("autorefresh: Store.Watch has returned")

// lose takes note that changes are not heard of, unless that is for the end.
func (f *follower[K, V]) lose(cause error) {
	if f.cache.life.run.Err() != nil {
		return
	}
	f.mu.Lock()
	f.hearing.Lose(safe.Sound(cause), f.cache.now())
	f.cache.meter.deaf.Store(!f.hearing.IsOn())
	f.mu.Unlock()
	f.wake()
}

// wake has lookUp look again.
func (f *follower[K, V]) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// tell takes note of what the store tells.
func (f *follower[K, V]) tell(n Notice) {
	c := f.cache
	if n.Down != nil {
		f.lose(n.Down)
	}
	var all []K
	if n.Gap {
		c.meter.gaps.Add(1)
		for e := range c.storage.all() {
			all = append(all, e.Key)
		}
	}
	known := make([]level.Named[K], 0, len(n.Keys))
	for _, name := range n.Keys {
		if named, ok := c.fetch.Level.Identify(name); ok && (named.All || c.isOfInterest(named.Key)) {
			known = append(known, named)
		}
	}
	f.mu.Lock()
	now := c.now()
	for _, named := range known {
		if named.All {
			f.book.TellAll()
		} else {
			f.book.Tell(named.Key, named.Stone, now)
		}
	}
	if n.Gap {
		f.book.Gap(all, now)
	}
	if n.Gap && n.Down == nil {
		f.hearing.Regain(now)
		c.meter.deaf.Store(!f.hearing.IsOn())
	}
	f.mu.Unlock()
	f.wake()
}

// report logs whether changes are heard of, if that has changed, and returns when it is to be
// called next.
func (f *follower[K, V]) report() (next int64) {
	t := f.cache.teller
	f.mu.Lock()
	r, next := f.hearing.Report(f.cache.now())
	f.mu.Unlock()
	switch {
	case r == nil:
	case r.Cause != nil:
		t.write(notice{slog.LevelWarn, "second level does not tell of changes by other processes", []any{observe.KeyCause, r.Cause}})
	default:
		t.write(notice{slog.LevelInfo, "second level tells of changes by other processes again", []any{observe.Duration(observe.KeyAfter, r.After)}})
	}
	return next
}

// isOfInterest reports whether the cache has a key, or is loading it.
func (c *Cache[K, V]) isOfInterest(key K) bool {
	if _, there := c.storage.peek(key); there {
		return true
	}
	c.mu.Lock()
	busy := c.loads.IsBusyLocked(key)
	c.mu.Unlock()
	if busy {
		return true
	}
	_, there := c.storage.peek(key) // its load may have ended between the two looks
	return there
}

// lookUp looks up what has changed, until the end.
func (f *follower[K, V]) lookUp() {
	run := f.cache.life.run
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		reportAt := f.report()
		f.mu.Lock()
		look, at := f.book.Next(f.cache.now())
		f.mu.Unlock()
		if len(look.Keys) > 0 || look.All {
			err := safe.Do("follow", func() error { return f.obey(run, look) })
			f.mu.Lock()
			if err != nil {
				f.book.Fail(look, f.cache.now())
			} else {
				f.book.Done()
			}
			f.mu.Unlock()
		} else {
			timer.Reset(time.Duration(min(at, reportAt) - f.cache.now()))
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

// errBlind says that the second level could not be asked.
var errBlind = errors.New("autorefresh: the second level cannot be looked at")

// obey looks keys up, and has the cache follow what is found.
func (f *follower[K, V]) obey(run context.Context, look changes.Look[K]) error {
	c := f.cache
	if look.All {
		stone, marked, blind := c.fetch.Level.ExamineAll(run)
		if blind {
			return errBlind
		}
		if marked && !stone.Own && stone.At > f.allAt {
			f.allAt = stone.At
			c.invalidateBefore(stone.At)
		}
	}
	if len(look.Keys) == 0 {
		return nil
	}
	keys := make([]K, len(look.Keys))
	for i, w := range look.Keys {
		keys[i] = w.Key
	}
	sights, blind := c.fetch.Level.Examine(run, keys)
	if blind {
		return errBlind
	}
	luck := rand.Float64() // the same for all of them, which stay together
	for i, w := range look.Keys {
		verdict := c.follow(w, &sights[i], luck, &f.met)
		if verdict == changes.Again {
			f.mu.Lock()
			f.book.Again(w, c.now())
			f.mu.Unlock()
		}
		c.meter.notices[verdict].Add(1)
	}
	return nil
}

// follow has the item of a key follow what the second level has.
func (c *Cache[K, V]) follow(w changes.Wanted[K], s *level.Sight[K, V], luck float64, met *changes.Met[K]) changes.Verdict {
	s.Key = w.Key
	dated := s.LoadedAt + s.Ahead                           // by the clock that has dated the tombstone, too
	isOwn := s.Marked && s.Stone.Own && dated == s.Stone.At // what this process has set
	seen := changes.Seen{Value: s.Value != nil && !isOwn, LoadedAt: dated, Skew: int64(c.opts.Period / 10)}
	if s.Marked {
		noteStone(&seen, s.Stone)
	}
	e, ok := c.storage.peek(w.Key)
	if !ok {
		if seen.Stone && w.Told > changes.BySweep {
			c.mu.Lock()
			c.loads.DisownLocked(w.Key)
			c.mu.Unlock()
		}
		return changes.Keep
	}
	was := e.LoadedAt()
	seen.Skew = met.Skew(w.Key, seen, was, c.now())
	isSame := func() bool { return e.LoadedAt() == was } // not if the user, or a call, has changed it since
	verdict := changes.Judge(changes.Held{LoadedAt: was, Negative: e.Has(timetable.Absent)}, seen, w.Told, w.Tries)
	switch verdict {
	case changes.Adopt:
		switch {
		case e.Has(timetable.Terminal):
			c.succeed(e, s.Stored, isSame)
		case s.Terminal && !c.conclude(e, s.Stored, isSame), !s.Terminal && !c.adopt(e, s.Stored, luck, isSame):
			return changes.Again
		}
		c.storage.reweigh(e)
	case changes.Drop:
		c.storage.dropIf(e, isSame)
	case changes.Refresh, changes.Invalidate:
		c.doubt(e, verdict)
	default:
	}
	return verdict
}

// noteStone notes a tombstone, or what is hidden behind one of this process.
func noteStone(seen *changes.Seen, s level.Stone) {
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

func kindOf(k level.Kind) changes.Kind {
	switch k {
	case level.Deleted:
		return changes.Deleted
	case level.Replaced:
		return changes.Replaced
	case level.Lost:
		return changes.Lost
	case level.Invalidated:
		return changes.Invalidated
	default:
		return changes.Unknown
	}
}

// adopt gives an entry the value that another process has stored. The result of a call for it that
// is under way is not wanted any more. It is false if the entry is not the same as was judged.
func (c *Cache[K, V]) adopt(e *timetable.Entry[K, V], s level.Stored[K, V], luck float64, isSame func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.life.isOverLocked() || e.IsDead() || e.Has(timetable.Terminal|timetable.Leaving):
		return true
	case !isSame():
		return false
	}
	now := c.now()
	c.table.Overtake(e, timetable.Value[V]{Value: s.Value, LoadedAt: min(s.LoadedAt, now), End: s.End, Luck: luck}, now)
	c.waiters.noteLocked(e, note{started: math.MinInt64}) // it says nothing of the source
	c.teller.emit(Event[K]{Kind: Updated, Key: e.Key})
	return true
}

// conclude is adopt of a final value. It is false, too, while a call for the entry is under way,
// which has to end first.
func (c *Cache[K, V]) conclude(e *timetable.Entry[K, V], s level.Stored[K, V], isSame func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.life.isOverLocked() || e.IsDead():
		return true
	case !isSame():
		return false
	}
	now := c.now()
	if !c.table.Conclude(e, timetable.Value[V]{Value: s.Value, LoadedAt: min(s.LoadedAt, now), End: s.End}, c.opts.TerminalTTL, now) {
		return false
	}
	c.waiters.noteLocked(e, note{started: math.MinInt64})
	c.teller.emit(Event[K]{Kind: Final, Key: e.Key})
	return true
}

// succeed is adopt for what was final: another entry takes its place.
func (c *Cache[K, V]) succeed(old *timetable.Entry[K, V], s level.Stored[K, V], isSame func() bool) {
	e := c.table.NewEntry(old.Key, s.Value, s.LoadedAt)
	if s.Terminal {
		e.Set(timetable.Terminal)
	}
	_, _ = c.supplant(e, old, func() int64 {
		now := c.now()
		c.table.SetEnd(e, s.End)
		if !s.Terminal {
			return c.table.FirstDueAdopted(e, now)
		}
		end := int64(timetable.Never)
		if s.End != 0 {
			end = s.End
		}
		return min(timetable.Expiry(now, c.opts.TerminalTTL), end)
	}, func() bool { return old.IsDead() || !isSame() })
}

// doubt has an entry refreshed, now or within a period.
func (c *Cache[K, V]) doubt(e *timetable.Entry[K, V], verdict changes.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.isOverLocked() || e.IsDead() {
		return
	}
	now := c.now()
	c.table.Invalidate(e, now)
	if verdict == changes.Refresh && !e.Has(timetable.Cold) {
		c.table.Hurry(e, now)
		c.life.room.Signal()
	}
}

// checkWatch tells what is wrong with Options.Watch.
func (o Options[K, V]) checkWatch() error {
	if !o.Watch {
		return nil
	}
	if _, ok := o.Store.(Watcher); !ok || isNil(o.Store) {
		return invalid("Options.Watch", true, fmt.Sprintf("set Options.Store to one that is a Watcher, which a %T is not", o.Store))
	}
	return nil
}
