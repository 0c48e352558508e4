package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/sentinel"
)

const (
	batch          = 200 // keys per command
	sweepTime      = 10 * time.Second
	sweepTimeHasty = 2 * time.Second // after Ctrl-C
)

// errNoFaults is returned for actions on clusters that must not be touched.
var errNoFaults = errors.New("this cluster must not be broken")

// Foreign is a cluster that was there before the drill. It is loaded, and left alone otherwise. It
// has no useful zero value; Connect makes one.
type Foreign struct {
	name    string
	addrs   []string
	access  Access
	servers []string
	control *sentinel.Client // for requests that are not measured
}

// Connect finds the primary of a name through sentinels, within ctx or 5 s. The error names each
// address and what is wrong with it.
func Connect(ctx context.Context, addrs []string, name string, access Access) (*Foreign, error) {
	c, err := sentinel.New(ctx, addrs, access.options(sentinel.Options{Names: []string{name}, Name: "cachedrill-control"}))
	if err != nil {
		return nil, err
	}
	f := &Foreign{name: name, addrs: addrs, access: access, control: c}
	t := c.Topology(name)
	f.servers = append(f.servers, t.Primary)
	for _, r := range t.Replicas {
		if r.Addr != t.Primary {
			f.servers = append(f.servers, r.Addr)
		}
	}
	return f, nil
}

// Kind returns "redis".
func (f *Foreign) Kind() string { return "redis" }

// Name is the primary's, as the sentinels know it.
func (f *Foreign) Name() string { return f.name }

// SentinelAddrs returns the sentinels that were given.
func (f *Foreign) SentinelAddrs() []string { return slices.Clone(f.addrs) }

// Access returns the given access.
func (f *Foreign) Access() Access { return f.access }

// Servers returns the servers there were at the start, the primary first.
func (f *Foreign) Servers() []string { return slices.Clone(f.servers) }

// States returns the servers' states by the sentinels.
func (f *Foreign) States(context.Context) []string {
	t := f.control.Topology(f.name)
	states := make([]string, len(f.servers))
	for i, addr := range f.servers {
		states[i] = "down"
		usable := slices.ContainsFunc(t.Replicas, func(r sentinel.Replica) bool { return r.Addr == addr && r.Usable })
		switch {
		case addr == t.Primary:
			states[i] = "primary"
		case usable:
			states[i] = "replica"
		}
	}
	return states
}

// Breakable is false.
func (f *Foreign) Breakable() bool { return false }

// Do refuses.
func (f *Foreign) Do(context.Context, Action) error { return errNoFaults }

// Settle waits until there is a primary.
func (f *Foreign) Settle(ctx context.Context) error { return f.control.WaitReady(ctx) }

// Present asks the primary for each of the keys, many at a time, and for no others.
func (f *Foreign) Present(ctx context.Context, keys []string) (map[string]bool, error) {
	present := make(map[string]bool, len(keys))
	for some := range slices.Chunk(keys, batch) {
		found, err := f.count(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, key := range some {
			n := 1
			if found < len(some) {
				if n, err = f.count(ctx, []string{key}); err != nil {
					return nil, err
				}
			}
			present[key] = n == 1
		}
	}
	return present, nil
}

// count returns how many of the keys there are.
func (f *Foreign) count(ctx context.Context, keys []string) (n int, err error) {
	err = f.patiently(ctx, func() radix.Action { return radix.Cmd(&n, "EXISTS", keys...) })
	return n, err
}

// patiently performs what may be done twice, again after a moment in which there was no primary, or
// one that hung: that is no reason to end a drill.
func (f *Foreign) patiently(ctx context.Context, action func() radix.Action) error {
	limited, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		err := f.control.Do(limited, f.name, action())
		again := errors.Is(err, sentinel.ErrNoPrimary) || errors.Is(err, sentinel.ErrFailover) || errors.Is(err, sentinel.ErrOutcomeUnknown)
		if !again || !backoff.Pause(limited, catchUpTime) {
			return err
		}
	}
}

// Close lets go of the cluster.
func (f *Foreign) Close() error {
	f.control.Close()
	return nil
}

// remove deletes keys, many at a time.
func (f *Foreign) remove(ctx context.Context, keys []string) error {
	for some := range slices.Chunk(keys, batch) {
		if err := f.patiently(ctx, func() radix.Action { return radix.Cmd(nil, "DEL", some...) }); err != nil {
			return err
		}
	}
	return nil
}

// Sweep deletes all keys of the drill on a cluster that was there before. Keys that it cannot
// delete expires.
func (f *Failover) Sweep(ctx context.Context) {
	cluster, ok := f.options.Clusters[0].(*Foreign)
	if !ok || f.stage == nil {
		return
	}
	limit := sweepTime
	if ctx.Err() != nil {
		limit = sweepTimeHasty
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	text := "all keys of the drill deleted"
	for _, s := range f.sides {
		if err := cluster.remove(ctx, s.app.keys()); err != nil {
			text = fmt.Sprintf("not all keys of the drill could be deleted, the rest expires within %v: %v", f.options.TTL, err)
		}
	}
	f.stage.Event(text)
}
