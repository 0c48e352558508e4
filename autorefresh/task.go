package autorefresh

import (
	"context"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/breaker"
)

// task is a call of the source: under way, or of a load that waits for its turn. The context of the call leads to it, so that what the
// refresh function waits for within the call is known as such: else loads within loads would wait for each other's places, or for
// themselves. The methods of a nil task are those of a caller who is in no call.
type task struct {
	cache any   // whose call it is
	outer *task // the call within which it was asked for, nil if none
	// lend and reclaim are called, with it, when the call begins and ends to wait for another; nil if it has nothing to lend.
	lend, reclaim func(*task)
	turn          turn // of a worker's call; guarded by the cache's mu

	mu     sync.Mutex
	permit breaker.Permit // guarded by mu
	over   bool           // the call has returned; guarded by mu
	waits  []*task        // which it waits for at present; guarded by mu
}

// taskKey is the context key of a task.
type taskKey struct{}

// taskOf returns the call whose context it is, nil if it is none's.
func taskOf(ctx context.Context) *task {
	t, _ := ctx.Value(taskKey{}).(*task)
	return t
}

// isWithin tells whether it is a call of a cache, or was asked for within one.
func (t *task) isWithin(cache any) bool {
	for ; t != nil; t = t.outer {
		if t.cache == cache && !t.isOver() {
			return true
		}
	}
	return false
}

func (t *task) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// end notes that the call has returned.
func (t *task) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// charge gives the call its permit.
func (t *task) charge(p breaker.Permit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.permit = p
}

// settle tells the breaker how the call went. Only the first time counts.
func (t *task) settle(verdict error) {
	t.mu.Lock()
	permit := t.permit
	t.permit = breaker.Permit{}
	t.mu.Unlock()
	permit.Done(verdict)
}

// wait notes that the call waits for another, and lends what it has. It refuses, with [ErrCycle], if the other waits for this one: who
// comes later sees it, because both note it first.
func (t *task) wait(other *task) error {
	if t == nil {
		return nil
	}
	t.awaits(other)
	if other.reaches(t, make(map[*task]bool)) {
		t.forget(other)
		return ErrCycle
	}
	t.pause()
	return nil
}

// pause lends what the call has while it waits; resume and unpause end that.
func (t *task) pause() {
	if t != nil && t.lend != nil {
		t.lend(t)
	}
}

func (t *task) unpause() {
	if t != nil && t.reclaim != nil {
		t.reclaim(t)
	}
}

// awaits notes that the call waits for another, which is known not to wait for it.
func (t *task) awaits(other *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits = append(t.waits, other)
}

// resume ends a wait that was not refused.
func (t *task) resume(other *task) {
	if t == nil {
		return
	}
	t.forget(other)
	t.unpause()
}

func (t *task) forget(other *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waits, other); i >= 0 {
		t.waits = slices.Delete(t.waits, i, i+1)
	}
}

// reaches tells whether a call is another, or waits for it, directly or through others.
func (t *task) reaches(other *task, seen map[*task]bool) bool {
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
	return slices.ContainsFunc(waits, func(next *task) bool { return next.reaches(other, seen) })
}
