// Package task knows which call of a source waits for which: a refresh function may load other keys
// of its cache.
package task

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/breaker"
)

// Task is a call of the source: under way, or of a load that waits for its turn. The context of the
// call leads to it, so that what the refresh function waits for within the call is known as such:
// else loads within loads would wait for each other's places, or for themselves. The methods of a
// nil task are those of a caller outside of all calls.
type Task struct {
	Cache any   // whose call it is
	Outer *Task // the call within which it was asked for, nil if none
	// Lend and Reclaim are called, with it, when the call begins and ends to wait for another; nil
	// if it has nothing to lend.
	Lend, Reclaim func(*Task)
	Turn          Turn // guarded by the cache's lock

	mu     sync.Mutex
	permit breaker.Permit // guarded by mu
	over   bool           // the call has returned; guarded by mu
	waits  []*Task        // which it waits for at present; guarded by mu
}

// Turn is the turn, among as many calls as there may be at once, of a call that may lend it while
// it waits for another.
type Turn struct {
	Blocked int  // waits of its refresh function for other calls
	Lent    bool // another call has it
	Over    bool
}

// taskKey is the context key of a task.
type taskKey struct{}

// Of returns the call whose context it is, nil if it is none's.
func Of(ctx context.Context) *Task {
	t, _ := ctx.Value(taskKey{}).(*Task)
	return t
}

// IsWithin reports whether it is a call of a cache, or was asked for within one.
func (t *Task) IsWithin(cache any) bool {
	for ; t != nil; t = t.Outer {
		if t.Cache == cache && !t.isOver() {
			return true
		}
	}
	return false
}

func (t *Task) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// End notes that the call has returned.
func (t *Task) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// Charge gives the call its permit.
func (t *Task) Charge(p breaker.Permit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.permit = p
}

// Settle tells the breaker how the call went. Only the first time counts.
func (t *Task) Settle(verdict error) {
	t.mu.Lock()
	permit := t.permit
	t.permit = breaker.Permit{}
	t.mu.Unlock()
	permit.Done(verdict)
}

// ErrCycle says that a call would wait for itself.
var ErrCycle = errors.New("autorefresh: load within a load waits for itself")

// Wait notes that the call waits for another, and lends what it has. It refuses, with [ErrCycle],
// if the other waits for this one: the later one sees it, because both note it first.
func (t *Task) Wait(other *Task) error {
	if t == nil {
		return nil
	}
	t.Awaits(other)
	if other.Reaches(t, make(map[*Task]bool)) {
		t.Forget(other)
		return ErrCycle
	}
	t.Pause()
	return nil
}

// Pause lends what the call has while it waits; resume and Unpause end that.
func (t *Task) Pause() {
	if t != nil && t.Lend != nil {
		t.Lend(t)
	}
}

// Unpause is the end of Pause.
func (t *Task) Unpause() {
	if t != nil && t.Reclaim != nil {
		t.Reclaim(t)
	}
}

// Awaits notes that the call waits for another, which is known not to wait for it.
func (t *Task) Awaits(other *Task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits = append(t.waits, other)
}

// Resume ends a wait that was not refused.
func (t *Task) Resume(other *Task) {
	if t == nil {
		return
	}
	t.Forget(other)
	t.Unpause()
}

// Forget is the end of Awaits.
func (t *Task) Forget(other *Task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waits, other); i >= 0 {
		t.waits = slices.Delete(t.waits, i, i+1)
	}
}

// Reaches reports whether a call is another, or waits for it, directly or through others.
func (t *Task) Reaches(other *Task, seen map[*Task]bool) bool {
	if t == other {
		return true
	}
	if t == nil || seen[t] {
		return false
	}
	seen[t] = true
	t.mu.Lock()
	waits := slices.Clone(t.waits)
	t.mu.Unlock()
	return slices.ContainsFunc(waits, func(next *Task) bool { return next.Reaches(other, seen) })
}
