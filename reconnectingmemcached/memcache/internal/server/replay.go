package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
)

const (
	// zombieDelay is how long after the first deletion the missed keys are deleted once more: a
	// server that was stopped works off what its sockets held, which may be the very writes that
	// were given up.
	zombieDelay = 100 * time.Millisecond
	// replayRounds bounds how often a replay starts again because more was missed meanwhile.
	replayRounds = 3
	// leastPatience is the least time for a batch of deletions: a connection that a lost packet
	// silences holds up no more.
	leastPatience = time.Second
	// openPause spaces the looks at what becomes of writes on connections that live.
	openPause = 5 * time.Millisecond
	// replayTime bounds one replay, replayPause spaces those that failed while the server is up.
	replayTime  = 5 * time.Second
	replayPause = time.Second
)

// errNotDeleted says that the server has refused deletions of missed keys. They stay in the log,
// and are tried again.
var errNotDeleted = errors.New("memcache: deletions of missed writes refused")

// makeReady deletes the keys that a server missed while it was down. Keys whose deletion it refuses
// are misses; the others do not wait for them.
func (s *Server) makeReady(ctx context.Context) error {
	s.forgetRestarted(ctx)
	if err := s.replay(ctx); !errors.Is(err, errNotDeleted) {
		return err
	}
	return nil
}

// replay deletes the keys of missed writes until none is left. Those that may still be on their way
// stay in the log, and so are misses here, until [Server.ReplaySoon] has deleted them once more.
func (s *Server) replay(ctx context.Context) error {
	for range replayRounds {
		batch := s.Missed.fresh()
		if len(batch.keys) == 0 && !batch.overflow {
			return nil
		}
		if err := s.replayOnce(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) replayOnce(ctx context.Context, batch missedBatch) error {
	c, err := s.openSession(ctx, s.Dial)
	if err != nil {
		return fmt.Errorf("memcache: delete missed writes: %w", err)
	}
	defer c.hangUp()
	if batch.overflow && s.Env.config.FlushServer {
		if err := c.flush(); err != nil {
			return fmt.Errorf("memcache: flush for missed writes: %w", err)
		}
	}
	c.patience = max(s.Env.limits.LongestProbe(), leastPatience)
	if err := c.deleteAll(batch.keys, s.Missed.settle); err != nil {
		return fmt.Errorf("memcache: delete missed writes: %w", err)
	}
	if batch.overflow {
		s.Missed.settleOverflow()
	}
	if c.refused > 0 {
		return faults.Blameless(fmt.Errorf("%w: %d", errNotDeleted, c.refused))
	}
	return nil
}

// exorcise deletes once more what may have arrived after its first deletion.
func (s *Server) exorcise(ctx context.Context) error {
	batch := s.Missed.zombies()
	if len(batch.keys) == 0 {
		return nil
	}
	if !backoff.Pause(ctx, zombieDelay) {
		return ctx.Err()
	}
	batch.overflow = false // dealt with
	return s.replayOnce(ctx, batch)
}

// ReplaySoon replays in the background, for a server that is up: after a time-out that did not trip
// it, and for writes missed between the last replay and the re-admission. It outlives the call
// that asked for it.
//
//nolint:contextcheck // see above.
func (s *Server) ReplaySoon() {
	if !s.replays() || !s.replaying.CompareAndSwap(false, true) {
		return
	}
	s.Env.Spawn(func() {
		for s.replays() && s.replayInBackground() {
		}
		s.endReplay()
	})
}

// endReplay lets the next begin, and begins it for what came after the last look and found this one
// still under way.
func (s *Server) endReplay() {
	s.replaying.Store(false)
	s.ReplaySoon()
}

// replays reports whether there is something to delete, and a server to ask.
func (s *Server) replays() bool { return s.Missed.Pending() && !s.IsDown() }

// replayInBackground is one try, and the pause before the next. It is false once the client is
// closed.
func (s *Server) replayInBackground() bool {
	ctx, cancel := context.WithTimeout(s.Env.Ctx, replayTime)
	defer cancel()
	err := s.replay(ctx)
	if err == nil {
		err = s.exorcise(ctx)
	}
	switch {
	case err != nil:
		s.charge(err)
		return backoff.Pause(s.Env.Ctx, replayPause)
	case s.Missed.open():
		// The watch sees to it that no connection takes longer than Timeout, even if no caller
		// waits there any more.
		s.watch.arm()
		// Each look is at all keys, under the lock that reads need while there are any: the more
		// there are, the rarer it is.
		return backoff.Pause(s.Env.Ctx, openPause+time.Duration(s.Missed.Len())*time.Microsecond)
	}
	return true
}
