// Package changes says which keys have to be looked up in the second level, and when, because
// another process may have changed them; and judges the values found. Nothing in it waits,
// locks or looks at a clock. It is not safe for concurrent use.
package changes

import (
	"math"
	"time"
)

const (
	// ByDate is the Told of a key of whose tombstone nobody has told.
	ByDate = math.MinInt64
	// BySweep is the Told of a key that is looked up with all others.
	BySweep = math.MinInt64 + 1

	// looks is how many keys are looked up at once.
	looks = 256
	// sweepTime is over how long the look for all keys is spread, after a time when changes may
	// have been missed.
	sweepTime = 500 * time.Millisecond
	// firstRetry and lastRetry bound the wait after a look that has failed.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
	// firstAgain is after how long a value is looked for that is about to come, and mostTries how
	// often: about 2.5 s in all.
	firstAgain = 10 * time.Millisecond
	mostTries  = 8
)

// Wanted is a key that has to be looked up.
type Wanted[K comparable] struct {
	Key   K
	Told  int64 // when a process was told of its tombstone; or ByDate or BySweep
	Tries int   // how often the value was not there that the tombstone announces
}

// Book has the keys that are to be looked up.
type Book[K comparable] struct {
	told  map[K]Wanted[K]
	order []K // of told, the oldest first; keys that are in it no more are passed over
	later []delayed[K]

	sweep  []K // all keys, of which the first are swept
	swept  int // how much of it has been handed out
	since  int64
	after  []K   // all keys once more, after that
	all    bool  // whether there is a tombstone of all keys is to be looked up
	failed int   // looks in a row
	rest   int64 // no look before then
}

// delayed is a key that is looked up once more at a time.
type delayed[K comparable] struct {
	Wanted[K]

	at int64
}

// NewBook makes an empty book.
func NewBook[K comparable]() *Book[K] { return &Book[K]{told: make(map[K]Wanted[K])} }

// Tell notes that a key has changed, or its tombstone.
func (b *Book[K]) Tell(key K, stone bool, now int64) { //nolint:revive // the flag is in the message
	w := Wanted[K]{Key: key, Told: ByDate}
	if stone {
		w.Told = now
	}
	b.want(w)
}

// want notes a key, with the latest that was told of it.
func (b *Book[K]) want(w Wanted[K]) {
	old, known := b.told[w.Key]
	if !known {
		b.order = append(b.order, w.Key)
	} else if old.Told > w.Told {
		w.Told, w.Tries = old.Told, old.Tries
	}
	b.told[w.Key] = w
}

// TellAll notes that all keys may be old.
func (b *Book[K]) TellAll() { b.all = true }

// Gap notes that anything may have changed without a word until now: all keys there are have to be
// looked up. They are handed out over a while. A look for all keys that is under way goes on, lest
// the last of them never have their turn if changes are missed again and again, and another
// follows.
func (b *Book[K]) Gap(keys []K, now int64) {
	b.all = true
	if b.swept < len(b.sweep) {
		b.after = keys
		return
	}
	b.sweep, b.swept, b.since = keys, 0, now
}

// Again has a key looked up once more, later each time: its tombstone announces a value that was
// not there yet, or the value found cannot be taken yet.
func (b *Book[K]) Again(w Wanted[K], now int64) {
	at := now + int64(firstAgain)<<min(w.Tries, mostTries)
	w.Tries++
	b.later = append(b.later, delayed[K]{w, at})
}

// Fail takes keys back whose look has failed.
func (b *Book[K]) Fail(look Look[K], now int64) {
	for _, w := range look.Keys {
		b.want(w)
	}
	b.all = b.all || look.All
	b.rest = now + int64(min(firstRetry<<min(b.failed, 16), lastRetry))
	b.failed++
}

// Done notes that a look has succeeded.
func (b *Book[K]) Done() { b.failed = 0 }

// Look are the keys that are to be looked up at once.
type Look[K comparable] struct {
	Keys []Wanted[K]
	All  bool // and the tombstone of all keys
}

// Next returns the keys to be looked up now; if there are none, it says when Next is to be called
// again, Never if there is nothing to come.
func (b *Book[K]) Next(now int64) (look Look[K], at int64) {
	if now < b.rest {
		return look, b.rest
	}
	at = b.ripen(now)
	due := b.sweepDue(now)
	room := looks
	if due > 0 {
		room -= looks / 4 // however much is told, the sweep goes on
	}
	for len(b.order) > 0 && len(look.Keys) < room {
		key := b.order[0]
		b.order = b.order[1:]
		look.Keys = append(look.Keys, b.told[key])
		delete(b.told, key)
	}
	if len(b.order) == 0 {
		b.order = nil
	}
	for n := min(due, looks-len(look.Keys)); n > 0; n-- {
		look.Keys = append(look.Keys, Wanted[K]{Key: b.sweep[b.swept], Told: BySweep})
		b.swept++
	}
	if b.swept == len(b.sweep) {
		b.sweep, b.swept, b.since = b.after, 0, now
		b.after = nil
	}
	if len(b.sweep) > 0 {
		at = min(at, b.nextSweep())
	}
	look.All, b.all = b.all, false
	return look, at
}

// Never is when nothing is to come.
const Never = math.MaxInt64

// ripen moves keys whose time has come to those to be looked up, and returns when the next of it
// comes.
func (b *Book[K]) ripen(now int64) (next int64) {
	next = Never
	rest := b.later[:0]
	for _, d := range b.later {
		if d.at <= now {
			b.want(d.Wanted)
			continue
		}
		next = min(next, d.at)
		rest = append(rest, d)
	}
	clear(b.later[len(rest):])
	b.later = rest
	return next
}

// sweepDue is how many keys of the sweep may be looked up by now: a few at first, all at its end.
func (b *Book[K]) sweepDue(now int64) int {
	n := len(b.sweep)
	share := float64(now-b.since) / float64(sweepTime)
	return min(looks/4+int(min(share, 1)*float64(n)), n) - b.swept
}

// nextSweep is when a full look of the sweep is due, or its end.
func (b *Book[K]) nextSweep() int64 {
	share := min(float64(b.swept+looks-looks/4)/float64(len(b.sweep)), 1)
	return b.since + int64(share*float64(sweepTime)) + 1
}
