package writes

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

// A Target is a process that a write must be told.
type Target interface {
	// Ranked reports whether it answers for the key in the place of those before it in the list.
	Ranked() bool
	// Left reports whether it was a peer until lately. Others may not know yet that it is none any
	// more. What it does not hear is no error.
	Left() bool
	// Up reports whether it is asked at all at the moment.
	Up() bool
}

// A Round tells targets of one write.
type Round[T Target] struct {
	// Life ends the pauses between attempts.
	Life context.Context
	// Tell tells a target, once.
	Tell func(T) error
	// Miss keeps the write for a target that could not be told.
	Miss func(T, error)
	// Hopeless reports whether an error is about the write, not about the target: the same one will
	// fail again.
	Hopeless func(error) bool
	// Down is the error of targets that have left and are not asked.
	Down error
}

const attempts = 3

// again spaces the attempts to tell a target.
var again = backoff.Exponential{Base: 10 * time.Millisecond, Cap: 100 * time.Millisecond, Factor: 3} //nolint:gochecknoglobals // never changes

// Run tells all targets: the ranked ones one after the other as they stand in the list, all others
// at once. It returns the error of each.
func (r Round[T]) Run(targets []T) []error {
	errs := make([]error, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		if t.Ranked() {
			errs[i] = r.one(t)
			continue
		}
		all.Go(func() { errs[i] = r.one(t) })
	}
	all.Wait()
	return errs
}

// one tells one target, again if it fails. What does not arrive is kept for it.
func (r Round[T]) one(t T) error {
	if t.Left() {
		r.left(t)
		return nil
	}
	err := r.Tell(t)
	for attempt := 0; attempt+1 < attempts && err != nil && t.Up() && !r.Hopeless(err); attempt++ {
		if !backoff.Pause(r.Life, again.Delay(attempt)) {
			break
		}
		err = r.Tell(t)
	}
	if err != nil && !r.Hopeless(err) {
		r.Miss(t, err)
	}
	return err
}

// left tells a target that has left. What it does not hear is kept for it, for the case that it
// comes back.
func (r Round[T]) left(t T) {
	err := r.Down
	if t.Up() {
		err = r.Tell(t)
	}
	if err != nil && !r.Hopeless(err) {
		r.Miss(t, err)
	}
}

// Ages keep when writes under way began.
type Ages struct {
	mu    sync.Mutex
	began map[int64]time.Time // guarded by mu
	last  int64               // guarded by mu
}

// Begin takes note of one that begins, and returns what End is to be told.
func (a *Ages) Begin() (id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.began == nil {
		a.began = make(map[int64]time.Time)
	}
	a.last++
	a.began[a.last] = time.Now()
	return a.last
}

// End takes note of one that has ended.
func (a *Ages) End(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.began, id)
}

// Active is how many are under way, and when the oldest began.
func (a *Ages) Active() (n int64, oldest time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.began {
		if oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	return int64(len(a.began)), oldest
}
