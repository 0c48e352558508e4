package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

const (
	warmUp         = time.Second
	promotionLimit = 25 * time.Second
	switchLimit    = 5 * time.Second
	settleLimit    = 25 * time.Second
)

// The sentinels did not do what the scenario is about, which is not the clients' doing: they did
// not agree on a new primary in time, or made one more failover before the first was judged.
var (
	errNoPromotion     = errors.New("no replica was promoted")
	errAnotherFailover = errors.New("the sentinels made another failover")
)

// othersDoing reports whether a run says nothing about the clients.
func othersDoing(err error) bool {
	return errors.Is(err, errNoPromotion) || errors.Is(err, errAnotherFailover)
}

// stage is one run of a scenario.
type stage struct {
	harness  *harness
	scenario scenario
	run      int
	cluster  cluster
	observer *observer
	forgery  *forgery // of the scenarios that forge
	children []*handle
	absent   error // why clients do not take part
	when     moments
	primary  *redis.Server // at the time of the fault
	promoted string        // the address of the primary at the end
}

// scenario is one way to break things, with the question it answers.
type scenario struct {
	name, title string
	pushOnly    bool     // holdfast's mode
	clients     []string // who takes part; nil is everyone
	shared      bool     // all clients meet the same cluster at the same time
	firstOnly   bool     // clients are told of the first sentinel only and subscribe to that
	promotes    bool     // a replica is promoted
	variants    []variant
	runs        int
	window      time.Duration // from the promotion to the end
	prepare     func(context.Context, *stage) error
	fault       func(context.Context, *stage) error
	undo        func(context.Context, *stage) error
	rows        []row
}

// variant is a load beside another in the same run.
type variant struct {
	label string
	load  Load
}

// perform plays the stage and returns a verdict for each client and variant.
func (s *stage) perform(ctx context.Context, clients []string) (results, error) {
	var err error
	if s.cluster, err = launchUsual(ctx); err != nil {
		return nil, err
	}
	defer s.cluster.close()
	s.observer = observe(s.cluster.SentinelAddrs(), s.cluster.serverAddrs())
	defer s.observer.close()
	if !await(ctx, settleLimit, func() bool { return s.observer.ready(len(s.cluster.Sentinels())) }) {
		return nil, errors.New("the sentinels cannot be heard")
	}
	if s.scenario.name == forgedName {
		if s.forgery, err = startForgery(ctx, s.cluster); err != nil {
			return nil, err
		}
		defer s.forgery.close()
	}
	defer func() { killAll(s.children) }()
	if err := s.start(ctx, clients); err != nil {
		return nil, err
	}
	if err := s.disturb(ctx); err != nil {
		return nil, err
	}
	ledgers := s.ledgers()
	if s.scenario.undo != nil {
		if err := s.scenario.undo(ctx, s); err != nil {
			return nil, err
		}
	}
	if s.scenario.promotes {
		if err := s.cluster.settle(ctx, s.promoted); err != nil {
			return nil, err
		}
	}
	return s.judge(ctx, ledgers)
}

// start opens the clients and sets them writing.
func (s *stage) start(ctx context.Context, clients []string) error {
	seeds := s.cluster.SentinelAddrs()
	if s.scenario.firstOnly {
		seeds = seeds[:1]
	}
	for _, name := range clients {
		for _, v := range s.scenario.variants {
			h, err := spawnClient(ctx, name, settings{Sentinels: s.seedsOf(name, seeds), PushOnly: s.scenario.pushOnly})
			if err != nil {
				s.absent = errors.Join(s.absent, err)
				continue
			}
			h.name = name + v.label
			s.children = append(s.children, h)
			load := v.load
			load.Prefix = h.name
			if _, err := h.tell(order{Verb: verbWrite, Load: load}); err != nil {
				return err
			}
		}
	}
	return pause(ctx, warmUp)
}

// seedsOf puts the forging sentinel in the place of the first. The peers learn of it alone, as they
// would not be sure to listen to it otherwise.
func (s *stage) seedsOf(name string, seeds []string) []string {
	switch {
	case s.forgery == nil:
		return seeds
	case name == holdfastName:
		return append([]string{s.forgery.addr()}, seeds[1:]...)
	}
	return []string{s.forgery.addr()}
}

// disturb causes the fault and waits for what follows from it.
func (s *stage) disturb(ctx context.Context) error {
	if s.scenario.prepare != nil {
		if err := s.scenario.prepare(ctx, s); err != nil {
			return err
		}
	}
	primary, err := s.cluster.primary(ctx)
	if err != nil {
		return err
	}
	s.primary, s.when.primary, s.promoted = primary, primary.Addr(), primary.Addr()
	s.when.fault = time.Now().UnixNano()
	if err := s.scenario.fault(ctx, s); err != nil {
		return err
	}
	if s.scenario.promotes {
		if err := s.awaitPromotion(ctx); err != nil {
			return err
		}
	}
	err = pause(ctx, s.scenario.window)
	s.when.end = time.Now().UnixNano()
	return err
}

func (s *stage) awaitPromotion(ctx context.Context) error {
	seen := await(ctx, promotionLimit, func() bool {
		s.when.promotion, s.promoted = s.observer.promotion(s.when.fault, s.when.primary)
		return s.when.promotion != 0
	})
	if !seen {
		return errNoPromotion
	}
	await(ctx, switchLimit, func() bool {
		s.when.firstSwitch = s.observer.first("+switch-master", s.when.fault)
		return s.when.firstSwitch != 0
	})
	return nil
}

// ledgers ends the writing of all clients at the same time.
func (s *stage) ledgers() map[string]ledger {
	all := make(map[string]ledger)
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, h := range s.children {
		asking.Go(func() {
			a, err := h.tell(order{Verb: verbLedger})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.absent = errors.Join(s.absent, err)
				return
			}
			all[h.name] = a.Ledger
		})
	}
	asking.Wait()
	return all
}

func (s *stage) judge(ctx context.Context, ledgers map[string]ledger) (results, error) {
	found := make(results)
	primary, err := s.cluster.server(s.promoted)
	if err != nil {
		return nil, err
	}
	for name, l := range ledgers {
		kept, err := keptKeys(ctx, primary, name)
		if err != nil {
			return nil, err
		}
		v := l.judge(kept, s.when)
		v.silence = s.observer.longestSilence(s.when.fault, s.when.end, s.when.primary, s.promoted)
		if s.forgery != nil {
			strays, err := keptKeys(ctx, s.forgery.foreign, name)
			if err != nil {
				return nil, err
			}
			v.strays = len(strays)
		}
		found[name] = append(found[name], v)
	}
	return found, nil
}
