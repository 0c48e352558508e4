// Package rig holds the servers of a drill and breaks them on command.
package rig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// Sides is how many clients are compared.
const Sides = 2

// Delay is how much longer a slow server's round trips take.
const Delay = 50 * time.Millisecond

// Action is something that is done to a server.
type Action string

// The actions. Slow, Fast and Cut need a proxy.
const (
	Kill    Action = "kill"
	Restart Action = "restart"
	Hang    Action = "hang"
	Release Action = "release"
	Slow    Action = "slow"
	Fast    Action = "fast"
	Cut     Action = "cut"
)

// Down is the fault of a server that did not answer before the drill began.
const Down = "down"

// Fault returns the state of a server after the action: "killed", "hung", "slow", or "" for
// nothing.
func (a Action) Fault() string {
	switch a {
	case Kill:
		return "killed"
	case Hang:
		return "hung"
	case Slow:
		return "slow"
	}
	return ""
}

// ErrNoFaults is returned by Do when the servers must not be touched.
var ErrNoFaults = errors.New("these servers cannot be broken")

// Rig is the servers of both sides. It has no useful zero value; Own, InProcess, Direct and Through
// make one. It is safe for concurrent use.
type Rig struct {
	// Kinds names each server's kind.
	Kinds []string
	// Empties reports whether a killed server has lost its items.
	Empties bool
	// Proxied reports whether the actions that need a proxy are possible.
	Proxied bool

	foreign []string // the servers that were there before
	addrs   [Sides][]string
	servers [Sides][]testutil.Server // empty: they cannot be broken

	mu     sync.Mutex
	faults []string // guarded by mu; per server
}

// Own starts count servers for each side: memcached processes where the program is installed, else
// servers in this process. ctx bounds the start.
func Own(ctx context.Context, count int) (*Rig, error) {
	path, err := testutil.FindMemcached()
	if err != nil || !CanHang() {
		return InProcess(count)
	}
	return newRig(&Rig{Empties: true, faults: make([]string, count)}, count, func(int) (testutil.Server, error) {
		return testutil.LaunchMemcached(ctx, testutil.ProcessOptions{Path: path})
	})
}

// InProcess starts count servers for each side in this process.
func InProcess(count int) (*Rig, error) {
	return newRig(&Rig{Empties: true, faults: make([]string, count)}, count, func(int) (testutil.Server, error) {
		return testutil.NewFake(testutil.FakeOptions{})
	})
}

// Direct returns a rig of servers that are there already and cannot be broken.
func Direct(servers []Asked) *Rig {
	r := foreign(servers)
	for side := range r.addrs {
		r.addrs[side] = r.foreign
	}
	return r
}

// Through returns a rig of servers that are there already. Each side reaches each of them through a
// proxy of its own.
func Through(servers []Asked) (*Rig, error) {
	r := foreign(servers)
	r.Proxied = true
	return newRig(r, len(servers), func(i int) (testutil.Server, error) { return testutil.NewProxy(servers[i].Addr) })
}

func foreign(servers []Asked) *Rig {
	r := &Rig{}
	for _, s := range servers {
		fault := ""
		if s.Err != nil {
			fault = Down
		}
		r.Kinds, r.foreign, r.faults = append(r.Kinds, s.Kind), append(r.foreign, s.Addr), append(r.faults, fault)
	}
	return r
}

// newRig starts the servers; it closes those that have started if one does not.
func newRig(r *Rig, count int, start func(i int) (testutil.Server, error)) (*Rig, error) {
	for side := range r.servers {
		for i := range count {
			s, err := start(i)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("starting %s: %w", Name(i), err), r.Close())
			}
			r.servers[side] = append(r.servers[side], s)
			r.addrs[side] = append(r.addrs[side], s.Addr())
		}
	}
	if len(r.Kinds) == 0 {
		for _, s := range r.servers[0] {
			r.Kinds = append(r.Kinds, s.Kind())
		}
	}
	return r, nil
}

// Name returns a drill's name for the server of an index.
func Name(server int) string { return fmt.Sprintf("server %d", server+1) }

// Addrs returns where a side reaches its servers.
func (r *Rig) Addrs(side int) []string { return slices.Clone(r.addrs[side]) }

// Foreign returns the addresses of servers that were there before the rig; nil for servers of its
// own.
func (r *Rig) Foreign() []string { return slices.Clone(r.foreign) }

// Do carries an action out on a server of both sides at the same time, and returns when it is done.
func (r *Rig) Do(a Action, server int) error {
	if !r.Breakable() {
		return ErrNoFaults
	}
	var errs [Sides]error
	var workers sync.WaitGroup
	for side := range r.servers {
		workers.Go(func() { errs[side] = act(a, r.servers[side][server]) })
	}
	workers.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("%s %s: %w", a, Name(server), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[server] = a.Fault()
	return nil
}

func act(a Action, s testutil.Server) error {
	switch a {
	case Kill:
		return s.Kill()
	case Restart:
		return s.Restart()
	case Hang:
		return s.Hang()
	case Release:
		return s.Release()
	}
	proxy, ok := s.(*testutil.Proxy)
	if !ok {
		return ErrNoFaults
	}
	switch a {
	case Slow:
		proxy.SetDelay(Delay)
	case Fast:
		proxy.SetDelay(0)
	case Cut:
		return proxy.Cut()
	}
	return nil
}

// Faults returns the fault of each server.
func (r *Rig) Faults() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.faults)
}

// Close stops the processes that the rig has started; servers that were there before are left
// alone. It is idempotent.
func (r *Rig) Close() error {
	var workers sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, side := range r.servers {
		for _, s := range side {
			workers.Go(func() {
				err := s.Close()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	workers.Wait()
	return errors.Join(errs...)
}

// Breakable reports whether Do can do anything.
func (r *Rig) Breakable() bool { return len(r.servers[0]) > 0 }
