package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// InProcessOptions says what an InProcess consists of and how fast its failovers are. The zero
// value is one primary with two replicas and three sentinels, with the timings measured on a
// default installation; they can be anything.
type InProcessOptions struct {
	// Name is the primary's name. Default: "mymaster".
	Name string
	// Replicas is how many it has; negative: none. Default: 2.
	Replicas int
	// Sentinels is how many watch it. Default: 3.
	Sentinels int
	// Lag is how long a write needs to the replicas. Default: 2 ms.
	Lag time.Duration
	// DownAfter is how long the primary must be silent before its successor is selected. Default:
	// 1 s.
	DownAfter time.Duration
	// Promotion is the time from the selection of a successor to its promotion. Default: 200 ms.
	Promotion time.Duration
	// Announcement is the time from the promotion to the first sentinel's +switch-master, Spread
	// that from there to the other sentinels'. Default: 1 s and 800 ms.
	Announcement, Spread time.Duration
	// Demotion is how long a server that should be a replica may go on as a primary, and
	// acknowledge writes that will be lost, once all sentinels know its successor. Default: 8 s.
	Demotion time.Duration
}

func (o InProcessOptions) withDefaults() InProcessOptions {
	for field, value := range map[*time.Duration]time.Duration{
		&o.Lag: 2 * time.Millisecond, &o.DownAfter: time.Second, &o.Promotion: 200 * time.Millisecond,
		&o.Announcement: time.Second, &o.Spread: 800 * time.Millisecond, &o.Demotion: 8 * time.Second,
	} {
		if *field == 0 {
			*field = value
		}
	}
	return o
}

// directorInterval is how often the director of an InProcess looks at it.
const directorInterval = 5 * time.Millisecond

// InProcess is a Rig of fakes that listen on ports of 127.0.0.1, for machines without redis. It has
// no useful zero value; LaunchInProcess and StartInProcess make one.
//
// What happens in it is a simple model of the real thing: replication is asynchronous; a planned
// failover selects a successor, promotes it, announces it, and leaves the predecessor acknowledging
// writes that are lost when it is demoted; a primary that is killed or hung is replaced when a
// majority of sentinels has missed it for a while.
type InProcess struct {
	options InProcessOptions
	cluster *FakeCluster
	workers sync.WaitGroup
	cancel  context.CancelFunc

	requests  chan struct{} // planned failovers; at most one waits
	busy      atomic.Bool   // a failover is requested or under way
	anew      atomic.Bool   // the name is to be removed and monitored again
	promising atomic.Bool   // there is a replica to promote
}

// StartInProcess makes a rig for one test, with the first of o if there is one, and closes it when
// the test ends.
func StartInProcess(tb testutil.TB, o ...InProcessOptions) *InProcess {
	tb.Helper()
	p, err := LaunchInProcess(context.Background(), first(o))
	closeAtEnd(tb, "an in-process cluster", p, err)
	return p
}

// LaunchInProcess makes a rig that runs. ctx bounds only the start.
//
//nolint:contextcheck // the rig outlives ctx
func LaunchInProcess(ctx context.Context, o InProcessOptions) (*InProcess, error) {
	return launchInProcess(o,
		func(so FakeServerOptions) (*FakeServer, error) {
			so.tcp = true
			return newFakeServer(ctx, so)
		},
		func(so FakeSentinelOptions) (*FakeSentinel, error) {
			so.tcp = true
			return newFakeSentinel(ctx, so)
		})
}

// InProcess adds a rig to the network that opens no socket, and runs on the clock of a synctest
// bubble. It is to be closed before the network is.
func (f *FakeNet) InProcess(o InProcessOptions) *InProcess {
	p, err := launchInProcess(o, f.server, f.sentinel)
	if err != nil {
		panic(err) // in memory there is nothing that could fail
	}
	return p
}

func launchInProcess(o InProcessOptions, server func(FakeServerOptions) (*FakeServer, error), sentinel func(FakeSentinelOptions) (*FakeSentinel, error)) (*InProcess, error) {
	o = o.withDefaults()
	p := &InProcess{options: o, cluster: &FakeCluster{}, requests: make(chan struct{}, 1), cancel: func() {}}
	if err := p.cluster.build(FakeClusterOptions{Name: o.Name, Replicas: o.Replicas, Sentinels: o.Sentinels, Lag: o.Lag}, server, sentinel); err != nil {
		return nil, errors.Join(fmt.Errorf("redis: %w", err), p.Close())
	}
	for _, s := range p.cluster.Sentinels {
		s.onFailover = func(string) any { return p.request() }
	}
	background, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	d := &director{InProcess: p, rivals: make(map[*FakeServer]time.Time), switched: make(map[*FakeSentinel]time.Time)}
	d.look(time.Now())
	p.workers.Go(func() { d.run(background) })
	return p, nil
}

// request asks for a planned failover.
func (p *InProcess) request() any {
	underWay := ReplyError("INPROG Failover already in progress")
	if p.busy.Load() {
		return underWay
	}
	if !p.promising.Load() {
		return ReplyError("NOGOODSLAVE No suitable replica to promote")
	}
	if !p.busy.CompareAndSwap(false, true) {
		return underWay
	}
	select {
	case p.requests <- struct{}{}:
	default: // somebody else has asked just now
	}
	return status("OK")
}

// Kind returns "in-process".
func (p *InProcess) Kind() string { return "in-process" }

// SentinelAddrs returns the host:port of each sentinel.
func (p *InProcess) SentinelAddrs() []string { return p.cluster.SentinelAddrs() }

// Servers returns the servers, the first primary first, so that they can be broken in other ways.
func (p *InProcess) Servers() []*FakeServer { return p.cluster.Servers }

// Sentinels returns the sentinels.
func (p *InProcess) Sentinels() []*FakeSentinel { return p.cluster.Sentinels }

func (p *InProcess) primary(name string) (*FakeServer, error) {
	if name != p.cluster.Name {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	s := p.cluster.Primary()
	if !s.Running() {
		return nil, fmt.Errorf("%w of %q", ErrNoPrimary, name)
	}
	return s, nil
}

// PrimaryAddr returns the address of the server that has been promoted last, if it runs.
func (p *InProcess) PrimaryAddr(_ context.Context, name string) (string, error) {
	s, err := p.primary(name)
	if err != nil {
		return "", err
	}
	return s.Addr(), nil
}

// Failover begins a planned failover. While there is no replica to promote, or a failover is under
// way, it waits, 30 s at most.
func (p *InProcess) Failover(ctx context.Context, name string) error {
	if name != p.cluster.Name {
		return fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	for {
		refusal, refused := p.request().(ReplyError)
		if !refused {
			return nil
		}
		if pause(ctx, directorInterval) != nil {
			return fmt.Errorf("redis: failover of %q: %w: %w", name, ctx.Err(), refusal)
		}
	}
}

// MonitorAnew removes the name at all sentinels and monitors it again where the primary is: their
// epochs begin anew. It is done once no failover is under way.
func (p *InProcess) MonitorAnew(context.Context, string) error {
	p.anew.Store(true)
	return nil
}

// KillPrimary kills the primary.
func (p *InProcess) KillPrimary(_ context.Context, name string) error {
	s, err := p.primary(name)
	if err != nil {
		return err
	}
	return s.Kill()
}

// HangPrimary hangs the primary.
func (p *InProcess) HangPrimary(_ context.Context, name string) error {
	s, err := p.primary(name)
	if err != nil {
		return err
	}
	return s.Hang()
}

// KillSentinel kills one sentinel, by its index.
func (p *InProcess) KillSentinel(i int) error {
	s, err := nth(p.cluster.Sentinels, i)
	if err != nil {
		return err
	}
	return s.Kill()
}

// HangSentinel hangs one sentinel, by its index.
func (p *InProcess) HangSentinel(i int) error {
	s, err := nth(p.cluster.Sentinels, i)
	if err != nil {
		return err
	}
	return s.Hang()
}

// RestartKilled restarts all killed servers and sentinels.
func (p *InProcess) RestartKilled() error {
	return errors.Join(
		repairAll(p.cluster.Servers, (*FakeServer).killed, (*FakeServer).Restart),
		repairAll(p.cluster.Sentinels, (*FakeSentinel).killed, (*FakeSentinel).Restart))
}

// ReleaseHung releases all hung servers and sentinels.
func (p *InProcess) ReleaseHung() error {
	return errors.Join(
		repairAll(p.cluster.Servers, (*FakeServer).isHung, (*FakeServer).Release),
		repairAll(p.cluster.Sentinels, (*FakeSentinel).isHung, (*FakeSentinel).Release))
}

// AwaitSettled waits until the running servers and sentinels agree on who is primary. It takes a
// minute at most.
func (p *InProcess) AwaitSettled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		problem := p.problem()
		if problem == "" {
			return nil
		}
		if pause(ctx, directorInterval) != nil {
			return fmt.Errorf("redis: %q has not settled: %s: %w", p.cluster.Name, problem, ctx.Err())
		}
	}
}

// problem names the step that is still missing, "" if none is.
func (p *InProcess) problem() string {
	primary := p.cluster.Primary()
	if p.busy.Load() || len(p.requests) > 0 || !primary.Running() || !primary.Role().Primary {
		return "a failover is due or under way"
	}
	for _, s := range p.cluster.Servers {
		if role := s.Role(); s != primary && s.Running() && (role.Primary || role.Of != primary.Addr() || !role.LinkUp) {
			return s.Addr() + " does not follow the primary"
		}
	}
	for _, s := range p.cluster.Sentinels {
		w, _ := s.Watched(p.cluster.Name)
		if s.Running() && (w.Primary != primary.Addr() || w.Flags != flagsUp || w.Unmet) {
			return fmt.Sprintf("sentinel %s names %s (%s)", s.Addr(), w.Primary, w.Flags)
		}
	}
	return ""
}

// Snapshot returns the strings in database 0 of the primary.
func (p *InProcess) Snapshot(_ context.Context, name string) (map[string]string, error) {
	s, err := p.primary(name)
	if err != nil {
		return nil, err
	}
	return s.Snapshot(), nil
}

// Close stops everything. It is idempotent.
func (p *InProcess) Close() error {
	p.cancel()
	p.workers.Wait()
	var errs []error
	for _, s := range p.cluster.Sentinels {
		errs = append(errs, s.Close())
	}
	for _, s := range p.cluster.Servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
