package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	flagsUp   = "master"
	flagsDown = "master,s_down,o_down"
	flagLeads = ",failover_in_progress"
)

// phase is how far a failover has come.
type phase int

const (
	calm phase = iota
	selected
	promoted
	spreading
)

// director makes happen in an InProcess what real sentinels would do. All of it is done by one goroutine.
type director struct {
	*InProcess
	phase     phase
	due       time.Time // of the next step
	successor *FakeServer
	leader    *FakeSentinel
	missing   time.Time                 // since when the primary has been down; zero if it is not
	rivals    map[*FakeServer]time.Time // since when a server has been a primary that should be a replica
}

// run looks again and again until ctx ends.
//
//nolint:contextcheck // replication outlives the look that starts it
func (d *director) run(ctx context.Context) {
	for pause(ctx, directorInterval) == nil {
		d.look(time.Now())
	}
}

// look does what is due.
func (d *director) look(now time.Time) {
	d.promising.Store(d.candidate() != nil)
	switch d.phase {
	case calm:
		d.watch(now)
		d.reconcile(now)
	case selected:
		d.promote(now)
	case promoted:
		d.announce(now)
	case spreading:
		d.spread(now)
	}
	d.inform(now)
}

// candidate returns the running replica with most of the data, nil if there is none.
func (d *director) candidate() *FakeServer {
	var best *FakeServer
	for _, s := range d.cluster.Replicas() {
		if role := s.Role(); s.Running() && !role.Primary && (best == nil || role.Offset > best.Role().Offset) {
			best = s
		}
	}
	return best
}

// running returns the sentinels that run.
func (d *director) running() []*FakeSentinel {
	return slices.DeleteFunc(slices.Clone(d.cluster.Sentinels), func(s *FakeSentinel) bool { return !s.Running() })
}

// watch begins a failover when one is asked for or the primary has been down for too long.
func (d *director) watch(now time.Time) {
	alive := d.cluster.Primary().Running()
	switch {
	case alive:
		d.missing = time.Time{}
	case d.missing.IsZero():
		d.missing = now
	}
	asked := false
	select {
	case <-d.requests:
		asked = true
	default:
	}
	crashed := !alive && now.Sub(d.missing) >= d.options.DownAfter && len(d.running()) > len(d.cluster.Sentinels)/2
	if asked || crashed {
		d.begin(now)
	}
}

func (d *director) begin(now time.Time) {
	sentinels, successor := d.running(), d.candidate()
	if len(sentinels) == 0 || successor == nil {
		return
	}
	d.busy.Store(true)
	d.leader, d.successor = sentinels[0], successor
	d.cluster.Select(successor, d.leader)
	d.phase, d.due = selected, now.Add(d.options.Promotion)
}

func (d *director) promote(now time.Time) {
	if now.Before(d.due) {
		return
	}
	if !d.successor.Running() {
		d.cluster.Abort("-failover-abort-slave-timeout", d.leader)
		d.end()
		return
	}
	d.cluster.Promote(d.successor)
	d.phase, d.due = promoted, now.Add(d.options.Announcement)
}

// announce lets one sentinel tell of the promotion; another one if the leader has gone.
func (d *director) announce(now time.Time) {
	sentinels := d.running()
	if now.Before(d.due) || len(sentinels) == 0 {
		return
	}
	if !slices.Contains(sentinels, d.leader) {
		d.leader = sentinels[0]
	}
	d.cluster.Confirm(d.leader)
	d.cluster.Announce(d.leader)
	d.phase, d.due = spreading, now.Add(d.options.Spread)
}

func (d *director) spread(now time.Time) {
	if now.Before(d.due) {
		return
	}
	if sentinels := d.running(); len(sentinels) > 0 {
		d.cluster.Announce(sentinels...)
	}
	d.end()
}

func (d *director) end() {
	d.phase, d.missing = calm, time.Time{}
	d.busy.Store(false)
}

// reconcile makes running servers follow the primary: replicas at once, former primaries after a while.
func (d *director) reconcile(now time.Time) {
	primary := d.cluster.Primary()
	if !primary.Running() || len(d.running()) == 0 {
		return
	}
	for _, s := range d.cluster.Replicas() {
		role := s.Role()
		switch {
		case !s.Running() || !role.Primary && role.Of == primary.Addr() && role.LinkUp:
			delete(d.rivals, s)
		case !role.Primary:
			d.cluster.Demote(s)
		case d.rivals[s].IsZero():
			d.rivals[s] = now
		case now.Sub(d.rivals[s]) >= d.options.Demotion:
			d.cluster.publish("+convert-to-slave", s, d.running()[:1])
			d.cluster.Demote(s)
			delete(d.rivals, s)
		}
	}
}

// inform keeps up to date what the running sentinels answer. One that was away announces what it has missed.
func (d *director) inform(now time.Time) {
	flags := flagsUp
	if !d.missing.IsZero() && now.Sub(d.missing) >= d.options.DownAfter {
		flags = flagsDown
	}
	states := make(map[string]WatchedReplica)
	for _, s := range d.cluster.Servers {
		states[s.Addr()] = d.state(s)
	}
	for _, s := range d.running() {
		if d.phase == calm {
			d.cluster.Announce(s)
		}
		before, _ := s.Watched(d.cluster.Name)
		own := flags
		if s == d.leader && (d.phase == selected || d.phase == promoted) {
			own += flagLeads
		}
		s.Update(d.cluster.Name, func(w *Watched) {
			w.Flags = own
			for i, r := range w.Replicas {
				w.Replicas[i] = states[r.Addr]
			}
			for i := range w.Sentinels {
				w.Sentinels[i].Flags = d.sentinelFlags(w.Sentinels[i].Addr)
			}
		})
		if strings.TrimSuffix(before.Flags, flagLeads) != flags && flags == flagsDown {
			host, port := splitAddr(before.Primary)
			s.Publish("+odown", fmt.Sprintf("master %s %s %d #quorum %d/%d", d.cluster.Name, host, port, len(d.running()), before.quorum()))
		}
	}
}

func (d *director) state(s *FakeServer) WatchedReplica {
	role := s.Role()
	state := WatchedReplica{Addr: s.Addr(), Flags: "slave", Link: "ok", Of: role.Of, Offset: role.Offset}
	if !role.LinkUp {
		state.Link = "err"
	}
	if !s.Running() {
		state.Flags = "slave,s_down"
	}
	return state
}

func (d *director) sentinelFlags(addr string) string {
	for _, s := range d.running() {
		if s.Addr() == addr {
			return "sentinel"
		}
	}
	return "sentinel,s_down"
}
