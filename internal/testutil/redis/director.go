package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	flagsUp      = "master"
	flagsDown    = "s_down,o_down,master"
	flagLeads    = ",failover_in_progress"
	flagForced   = ",force_failover"
	flagPromoted = ",promoted"
	flagCut      = ",disconnected"

	// acquaintance is how long a sentinel takes to ask a server anything that it has just heard of.
	acquaintance = 60 * time.Millisecond
)

// phase is how far a failover has come.
type phase int

const (
	calm phase = iota
	selected
	promoted
	spreading
)

// director makes happen in an InProcess what real sentinels would do. All of it is done by one
// goroutine.
type director struct {
	*InProcess
	phase     phase
	due       time.Time // of the next step
	successor *FakeServer
	leader    *FakeSentinel
	planned   bool                        // the failover is
	missing   time.Time                   // since when the primary has been down; zero if it is not
	gone      *FakeServer                 // the primary that is down
	rivals    map[*FakeServer]time.Time   // since when a server has been a primary that should be a replica
	switched  map[*FakeSentinel]time.Time // when a sentinel has last heard of another primary
}

// run looks again and again until ctx ends.
//
//nolint:contextcheck // replication outlives the look that starts it
func (d *director) run(ctx context.Context) {
	for pause(ctx, directorInterval) == nil {
		d.look(time.Now())
	}
}

// look carries out the steps that are due.
func (d *director) look(now time.Time) {
	d.promising.Store(d.candidate() != nil)
	switch d.phase {
	case calm:
		if d.anew.CompareAndSwap(true, false) {
			d.cluster.monitorAnew()
		}
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
		d.missing, d.gone = now, d.cluster.Primary()
	}
	asked := false
	select {
	case <-d.requests:
		asked = true
	default:
	}
	crashed := !alive && now.Sub(d.missing) >= d.options.DownAfter && len(d.running()) > len(d.cluster.Sentinels)/2
	if asked || crashed {
		d.inform(now) // it is down before it is replaced
		d.planned = !crashed
		d.begin(now)
	}
}

func (d *director) begin(now time.Time) {
	sentinels, successor := d.running(), d.candidate()
	if len(sentinels) == 0 || successor == nil {
		d.busy.Store(false)
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
	d.phase, d.due = spreading, now
	if others := slices.DeleteFunc(sentinels, func(s *FakeSentinel) bool { return s == d.leader }); len(others) > 0 {
		d.tell(now, others)
		d.due = now.Add(d.options.Spread)
	}
}

// spread lets the leader tell of it as well, which has had the other replicas follow first.
func (d *director) spread(now time.Time) {
	if now.Before(d.due) {
		return
	}
	sentinels := d.running()
	if w, ok := d.leader.Watched(d.cluster.Name); ok && slices.Contains(sentinels, d.leader) {
		host, port := splitAddr(w.Primary)
		d.leader.Publish("+failover-end", fmt.Sprintf("master %s %s %d", d.cluster.Name, host, port))
	}
	d.tell(now, sentinels)
	d.end()
}

// tell lets sentinels announce the primary, if they have not yet.
func (d *director) tell(now time.Time, sentinels []*FakeSentinel) {
	for _, s := range sentinels {
		if w, ok := s.Watched(d.cluster.Name); ok && w.Primary != d.cluster.Primary().Addr() {
			d.cluster.Announce(s)
			d.switched[s] = now
		}
	}
}

func (d *director) end() {
	d.phase, d.missing = calm, time.Time{}
	d.busy.Store(false)
}

// reconcile makes running servers follow the primary: replicas at once, former primaries after a
// while.
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

// inform keeps the answers of the running sentinels up to date. One that was away announces what it
// has missed.
func (d *director) inform(now time.Time) {
	states := make(map[string]WatchedReplica)
	for _, s := range d.cluster.Servers {
		states[s.Addr()] = d.state(s)
	}
	for _, s := range d.running() {
		if d.phase == calm {
			d.tell(now, []*FakeSentinel{s})
		}
		before, _ := s.Watched(d.cluster.Name)
		flags := d.flags(now, before.Primary)
		leads := s == d.leader && d.phase != calm
		s.Update(d.cluster.Name, func(w *Watched) {
			w.Flags, w.Unmet = flags, now.Sub(d.switched[s]) < acquaintance
			if leads {
				w.Flags += flagLeads
			}
			if leads && d.planned {
				w.Flags += flagForced
			}
			for i, r := range w.Replicas {
				role := r.Role
				if w.Replicas[i] = states[r.Addr]; d.phase != calm && r.Addr == d.successor.Addr() {
					w.Replicas[i].Role = role // it learns of the promotion when it confirms it
				}
				if leads && r.Addr == d.successor.Addr() {
					w.Replicas[i].Flags += flagPromoted
				}
				if w.Unmet {
					w.Replicas[i] = WatchedReplica{Addr: r.Addr, Of: nobody, Link: "err", Unmet: true}
				}
			}
			for i := range w.Sentinels {
				w.Sentinels[i].Flags = d.sentinelFlags(w.Sentinels[i].Addr)
			}
		})
		if isDown := strings.Contains(flags, "o_down"); isDown && !strings.Contains(before.Flags, "o_down") {
			host, port := splitAddr(before.Primary)
			primary := fmt.Sprintf("master %s %s %d", d.cluster.Name, host, port)
			s.Publish("+sdown", primary)
			s.Publish("+odown", fmt.Sprintf("%s #quorum %d/%d", primary, len(d.running()), before.quorum()))
		}
	}
}

// flags are those of whom a sentinel takes for the primary.
func (d *director) flags(now time.Time, primary string) string {
	if d.missing.IsZero() || now.Sub(d.missing) < d.options.DownAfter || d.gone.Addr() != primary {
		return flagsUp
	}
	return flagsDown + cut(d.gone.killed())
}

// cut is the flag of a killed server: to one that hangs there still is a connection.
func cut(killed bool) string { //nolint:revive // it is a state, not a choice
	if killed {
		return flagCut
	}
	return ""
}

func (d *director) state(s *FakeServer) WatchedReplica {
	role := s.Role()
	state := WatchedReplica{Addr: s.Addr(), Flags: "slave", Link: "ok", Of: role.Of, Offset: role.Offset}
	if !role.LinkUp {
		state.Link = "err"
	}
	if role.Primary {
		state.Role, state.Of = "master", nobody
	}
	switch {
	case s.killed() && role.Primary: // sentinels that take it for a replica by now have never asked it
		state.Flags, state.Role, state.Unmet = "s_down,slave", "slave", true
	case !s.Running():
		state.Flags = "s_down,slave" + cut(s.killed())
	}
	return state
}

func (d *director) sentinelFlags(addr string) string {
	for _, s := range d.running() {
		if s.Addr() == addr {
			return "sentinel"
		}
	}
	return "s_down,sentinel"
}
