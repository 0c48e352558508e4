package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/outage"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/staleness"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/stampede"
)

// ownRun is part of the keys on servers of the drill's own.
const ownRun = "own"

// scenario is one that can be chosen.
type scenario struct {
	name  string
	rules func(settings) promise.Rules
	// build starts the servers or finds them, and connects the clients.
	build func(ctx context.Context, s settings, o drill.Options, stdout io.Writer) (drill.Scenario, error)
}

// allScenarios returns what "all" plays, in this order.
func allScenarios() []scenario {
	return []scenario{
		{record.Memcached, func(settings) promise.Rules { return outage.Rules() }, buildOutage},
		{record.Sentinel, failoverRules, buildFailover},
		{record.Groupcache, func(settings) promise.Rules { return stampede.Rules() }, buildStampede},
		{record.Autorefresh, func(settings) promise.Rules { return staleness.Rules() }, buildStaleness},
	}
}

// scenarioNames says what can be chosen.
func scenarioNames() string {
	var names []string
	for _, c := range allScenarios() {
		names = append(names, fmt.Sprintf("%q", c.name))
	}
	return strings.Join(names, ", ") + fmt.Sprintf(" and %q", scenarioAll)
}

// scenarios returns those that are chosen; none for a name that does not exist.
func (s settings) scenarios() (chosen []scenario) {
	for _, c := range allScenarios() {
		if s.scenario == c.name || s.scenario == scenarioAll {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// options returns what all scenarios have in common.
func (s settings) options(scenario string) drill.Options {
	o := drill.Options{
		Seed: s.seed, Duration: s.duration, Rate: s.rate, Workers: s.workers, Keys: s.keys,
		ValueSize: s.valueSize, Timeout: s.timeout, TTL: s.ttl(), Run: ownRun, Promises: s.promises[scenario],
	}
	if s.foreign() {
		o.Run = rand.Text()[:8] // another drill may be using the same servers
		o.Budget = new(atomic.Int64)
		o.Budget.Store(int64(s.maxBytes))
	}
	return o
}

func buildOutage(ctx context.Context, s settings, o drill.Options, stdout io.Writer) (drill.Scenario, error) {
	r, err := servers(ctx, s, stdout)
	if err != nil {
		return nil, err
	}
	return outage.New(outage.Options{Options: o, Rig: r, DBCost: s.dbCost, DBSlots: s.dbSlots})
}

// servers returns the rig that the flags ask for.
func servers(ctx context.Context, s settings, stdout io.Writer) (*rig.Rig, error) {
	if len(s.servers) == 0 {
		return ownServers(ctx, s, 3)
	}
	asked, err := rig.Ask(ctx, s.servers)
	if err != nil {
		return nil, err
	}
	for _, a := range asked {
		if a.Err != nil {
			fmt.Fprintln(stdout, "does not answer:", a.Err)
		}
	}
	if err := consent(s, asked, s.stdin, stdout); err != nil {
		return nil, err
	}
	if s.faults {
		return rig.Through(asked) //nolint:contextcheck // the proxies live until the rig is closed
	}
	return rig.Direct(asked), nil
}

// ownServers starts servers for each side.
func ownServers(ctx context.Context, s settings, each int) (*rig.Rig, error) {
	if s.inProcess {
		return rig.InProcess(each)
	}
	return rig.Own(ctx, each)
}

func buildStaleness(ctx context.Context, s settings, o drill.Options, _ io.Writer) (drill.Scenario, error) {
	if !s.raw.given["keys"] {
		o.Keys = staleness.KeysFor(o.Duration)
	}
	r, err := ownServers(ctx, s, 1)
	if err != nil {
		return nil, err
	}
	return staleness.New(staleness.Options{Options: o, Rig: r, Cost: s.dbCost, Slots: s.dbSlots})
}

// buildStampede starts nothing yet: the processes are of this program and start with the drill.
func buildStampede(ctx context.Context, s settings, o drill.Options, _ io.Writer) (drill.Scenario, error) {
	if !s.raw.given["keys"] {
		o.Keys = stampede.Keys
	}
	if !s.raw.given["rate"] {
		o.Rate = stampede.Rate
	}
	o.TTL = 0
	return stampede.New(ctx, stampede.Options{Options: o, Cost: s.dbCost, Slots: s.dbSlots})
}

func failoverRules(s settings) promise.Rules {
	if s.foreign() {
		return failover.ForeignRules()
	}
	return failover.OwnRules()
}

func buildFailover(ctx context.Context, s settings, o drill.Options, _ io.Writer) (drill.Scenario, error) {
	built := failover.Options{Options: o}
	var err error
	if built.Clusters, err = clusters(ctx, s); err != nil {
		return nil, err
	}
	return failover.New(ctx, built)
}

// clusters returns those of both sides that the flags ask for.
func clusters(ctx context.Context, s settings) (both [drill.Sides]failover.Cluster, err error) {
	if s.foreign() {
		how, err := s.access.read()
		if err != nil {
			return both, err
		}
		shared, err := failover.Connect(ctx, s.sentinels, s.name, how)
		if err != nil {
			return both, err
		}
		return [drill.Sides]failover.Cluster{shared, shared}, nil
	}
	launch := failover.Launch
	if s.inProcess {
		launch = failover.InProcess
	}
	var errs [drill.Sides]error
	var starting sync.WaitGroup
	for i := range both {
		starting.Go(func() { both[i], errs[i] = launch(ctx) })
	}
	starting.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		for i, c := range both {
			if errs[i] == nil {
				err = errors.Join(err, c.Close())
			}
		}
		return both, err
	}
	return both, nil
}
