package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	plannedName = "planned"
	forgedName  = "forged"
	tripsName   = "trips"

	// longestGap and afterEvent are what a planned failover may cost.
	longestGap = 200 * time.Millisecond
	afterEvent = 50 * time.Millisecond

	hungShort     = "/100ms"
	shortDeadline = 100 * time.Millisecond

	stallEvery = 5 * time.Second
	stallFor   = "0.25"
	spinners   = 6
	allDownFor = 5 * time.Second
	noticed    = 2 * time.Second // time for clients to find that a sentinel is gone
)

// scenarios returns all in the order in which they are played.
func (h *harness) scenarios() []scenario {
	plain := []variant{{load: h.load(0)}}
	impatient := []variant{{load: h.load(0)}}
	impatient[0].load.Impatient = 20
	hung := []variant{{load: h.load(0)}, {label: hungShort, load: h.load(shortDeadline)}}
	slow := []variant{{load: h.load(time.Second)}}
	slow[0].load.Rate /= 4
	window, one := h.config.window, 1
	return []scenario{
		{
			name: plannedName, title: "planned failover", promotes: true, runs: h.config.runs, window: window, variants: plain,
			fault: failover, rows: plannedRows(),
		},
		{
			name: "pushonly", title: "planned failover, holdfast told to follow +switch-master only", pushOnly: true,
			clients: []string{holdfastName}, promotes: true, runs: h.config.runs, window: h.config.window / 2, variants: plain,
			fault: failover, rows: pushOnlyRows(),
		},
		{
			name: "crash", title: "crash: kill -9 of the primary", promotes: true, runs: one, window: window, variants: impatient,
			fault: func(_ context.Context, s *stage) error { return s.primary.Kill() },
			undo:  func(_ context.Context, s *stage) error { return s.primary.Restart() },
			rows:  crashRows(),
		},
		{
			name: "hung", title: "hung primary (SIGSTOP)", promotes: true, runs: one, window: window, variants: hung,
			fault: func(_ context.Context, s *stage) error { return s.primary.Hang() },
			undo:  func(_ context.Context, s *stage) error { return s.primary.Release() },
			rows:  hungRows(),
		},
		{
			name: "sentinelkilled", title: "subscribed sentinel killed, then planned failover", shared: true, firstOnly: true, promotes: true,
			runs: one, window: window, variants: plain, prepare: killFirstSentinel, fault: failover,
			undo: func(_ context.Context, s *stage) error { return s.cluster.Sentinels()[0].Restart() }, rows: sentinelRows(),
		},
		{
			name: "sentinelhung", title: "subscribed sentinel hung, then planned failover", shared: true, firstOnly: true, promotes: true,
			runs: one, window: window, variants: plain, prepare: hangFirstSentinel, fault: failover,
			undo: func(_ context.Context, s *stage) error { return s.cluster.Sentinels()[0].Release() }, rows: sentinelRows(),
		},
		{
			name: "sentinelsdown", title: "all sentinels down 5 s and back, then planned failover", shared: true, promotes: true,
			runs: one, window: window, variants: plain, prepare: restartAllSentinels, fault: failover, rows: sentinelRows(),
		},
		{
			name: forgedName, title: "one sentinel of three forges +switch-master, to a foreign server and to a replica, and +selected-slave",
			shared: true, runs: one, variants: plain, fault: forge, rows: forgedRows(),
		},
		{
			name: tripsName, title: fmt.Sprintf("false trips: DEBUG SLEEP %s each %v for %v, %d spinners, calls of 1 s", stallFor, stallEvery, h.config.trips, spinners),
			shared: true, runs: one, variants: slow, fault: stall, rows: tripRows(),
		},
	}
}

// load is what every client has to do: about 2 400 writes a second.
func (h *harness) load(deadline time.Duration) Load {
	return Load{Goroutines: h.config.goroutines, Rate: h.config.rate, Deadline: deadline}
}

// failover has one of the sentinels that are fit start it, another in each run.
func failover(ctx context.Context, s *stage) error {
	return s.cluster.failover(ctx, s.run)
}

func killFirstSentinel(ctx context.Context, s *stage) error {
	if err := s.cluster.Sentinels()[0].Kill(); err != nil {
		return err
	}
	return pause(ctx, noticed)
}

func hangFirstSentinel(ctx context.Context, s *stage) error {
	if err := s.cluster.Sentinels()[0].Hang(); err != nil {
		return err
	}
	return pause(ctx, noticed)
}

// restartAllSentinels returns once they agree again.
func restartAllSentinels(ctx context.Context, s *stage) error {
	for _, sentinel := range s.cluster.Sentinels() {
		if err := sentinel.Kill(); err != nil {
			return err
		}
	}
	if err := pause(ctx, allDownFor); err != nil {
		return err
	}
	for _, sentinel := range s.cluster.Sentinels() {
		if err := sentinel.Restart(); err != nil {
			return err
		}
	}
	return s.cluster.AwaitSettled(ctx)
}

// forge has one sentinel say three things that are not true.
func forge(ctx context.Context, s *stage) error {
	replicas, err := s.cluster.Replicas(ctx, master)
	if err != nil || len(replicas) == 0 {
		return errors.Join(errors.New("no replicas"), err)
	}
	for _, lie := range s.forgery.lies(s.when.primary, replicas[0].Addr()) {
		s.forgery.publish(lie)
		if err := pause(ctx, s.harness.config.forgeRest); err != nil {
			return err
		}
	}
	return nil
}

// stall lets the primary stop for a quarter of a second now and then while the processors are busy.
func stall(ctx context.Context, s *stage) error {
	var busy []*handle
	defer func() { killAll(busy) }()
	for range spinners {
		h, err := spawn(ctx, "spinner")
		if err != nil {
			return err
		}
		busy = append(busy, h)
		if _, err := h.tell(order{Verb: verbSpin}); err != nil {
			return err
		}
	}
	for end := time.Now().Add(s.harness.config.trips); time.Now().Before(end); {
		if _, err := s.primary.Do(ctx, "DEBUG", "SLEEP", stallFor); err != nil {
			return err
		}
		if err := pause(ctx, min(stallEvery, time.Until(end))); err != nil {
			return err
		}
	}
	return nil
}
