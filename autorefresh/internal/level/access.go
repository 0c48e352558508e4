package level

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/autorefresh/internal/envelope"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// report takes notice of how a call of the store went, and reports whether it failed; one that the
// caller has given up says nothing.
func (s *byName) report(ctx context.Context, err error) (failed bool) {
	refused := errors.Is(err, ErrRefused)
	if err != nil && !refused && ctx.Err() != nil {
		return true
	}
	if err != nil {
		s.errors.Add(1)
	}
	if refused {
		err = nil
	}
	var panicked *safe.Panic
	if errors.As(err, &panicked) && s.panics.May(s.now()) {
		s.logger.Error("autorefresh: callback panicked", observe.KeyCause, err)
	}
	s.health.note(s.now(), err)
	if err == nil {
		s.redeem(ctx)
	}
	return err != nil
}

// get asks the store for names.
func (s *byName) get(ctx context.Context, names []string) (map[string][]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return safe.Call("Store.GetMulti", func() (map[string][]byte, error) { return s.store.GetMulti(bounded, names) })
}

// announce tells other processes that keys of the second level have changed, if they want to know.
// What could not be told, the store tells later, or they find it when they look all up.
func (s *byName) announce(ctx context.Context, names []string) {
	if s.announcer == nil || len(names) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.report(ctx, safe.Do("Store.Announce", func() error { return s.announcer.Announce(bounded, names...) }))
}

// meet takes note of the dates in values.
func (s *byName) meet(values map[string][]byte) {
	if !s.clock.Follows {
		return
	}
	for _, data := range values {
		if e, ok := envelope.Open(data); ok {
			s.clock.Follow(e.LoadedAt.UnixNano())
			continue
		}
		for _, date := range tombstone.DatesOf(string(data)) {
			s.clock.Follow(date)
		}
	}
}

// redeem makes up for the deletions that could not be told and ends the leases that could not be
// released, now that a call of the store has succeeded.
func (s *byName) redeem(ctx context.Context) {
	s.atone(ctx)
	if s.owes.Load() && s.redeems.May(s.now()) {
		s.owes.Store(false)
		s.releaseNames(ctx, s.owed())
	}
}
