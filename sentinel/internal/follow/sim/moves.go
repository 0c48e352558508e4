package sim

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

const (
	// freshFor is how long a report counts.
	freshFor = 3 * time.Second
	// missedMost is for how long a server may be taken for a replica that became the primary, and
	// was left, while the client was stopped.
	missedMost = 10 * time.Second
	// demotedWithin is how long a server that has lost the name may go on as a primary.
	demotedWithin = 12 * time.Second
	// foundWithin is how long writes may wait once the replica that was selected is the primary:
	// others may have been selected by mistake, and each is asked in its turn.
	foundWithin = 300 * time.Millisecond
)

// took looks at what the state does upon an event.
func (c *client) took(e follow.Event, effects []follow.Effect) {
	w := c.world
	for _, f := range effects {
		switch f := f.(type) {
		case follow.Lift:
			c.givenUp(e, w.now)
		case follow.Reverted:
			c.givenUp(e, c.movedAt) // it waits for as long as no sentinel is heard
			if at := c.serving; !c.refused && at != nil && f.Addr != "" && f.Addr != at.to.addr && f.Addr != at.to.name {
				w.fail("the move to %s is taken back for %s, and commands go on there", at.to.addr, f.Addr)
			}
		}
	}
	switch e := e.(type) {
	case follow.Heard:
		if s := w.sentinel(e.Sentinel); s != nil {
			s.heard = true
		}
		if e.Report != nil {
			c.heardAt[e.Sentinel] = e.Asked.Sub(start())
			if e.Report.Midway {
				c.midway[e.Sentinel] = w.now
			}
			c.hearName(e)
			c.hearLost(e)
		}
	case follow.Unheard:
		if e.Asked.Sub(start()) >= c.pausedUntil { // else it has only run out of time
			c.unheardAt[e.Sentinel] = w.now
		}
	case follow.Pushed:
		switch e.Kind {
		case follow.Selected, follow.Switched:
			if e.Kind == follow.Selected || c.state.View().Settled {
				c.chose[e.Sentinel] = selected{e.Addr, c.knows(e.Addr) || e.Addr == c.state.View().Addr, w.now}
			}
		case follow.Aborted:
			delete(c.chose, e.Sentinel)
		}
	}
}

// knows reports whether the state has heard of a replica.
func (c *client) knows(addr string) bool {
	return slices.ContainsFunc(c.state.View().Replicas, func(r follow.Replica) bool { return r.Addr == addr })
}

// givenUp looks who has had the state give up a failover that it followed at a time.
func (c *client) givenUp(e follow.Event, followed time.Duration) {
	if c.world.now == c.pausedUntil {
		return // after a long stop nothing is waited for
	}
	if e, ok := e.(follow.Pushed); ok && e.Kind == follow.Aborted && c.chose[e.Sentinel].addr == "" && !c.led(e.Sentinel, followed) {
		c.world.fail("%s gives up a failover, and leads none: that is believed", e.Sentinel)
	}
}

// led reports whether a sentinel has said that it leads a failover a while before a time, or since.
func (c *client) led(sentinel string, followed time.Duration) bool {
	at, ok := c.midway[sentinel]
	return ok && followed-at < fenceMost
}

// swapped looks whether a server may be the primary at all.
func (c *client) swapped(l *connection, why follow.Trigger) {
	w, s := c.world, l.to
	if c.toldAt = w.now; why != follow.ByReturn { // which tells nothing new of how it came there
		c.why, c.movedAt = why, w.now
	}
	c.swaps++
	c.begins()
	if c.calm && s.followed && s.promotion < c.latest {
		w.fail("%s becomes the primary (%v) again, and one was followed that was promoted later", s.addr, why)
	}
	s.followed, c.latest = true, max(c.latest, s.promotion)
	recent := c.pausedUntil > 0 && w.now-c.pausedUntil < announcedMost // what it is told may be old
	if said := w.now - s.demotedAt; !s.primary && s.alive && !recent && (said > announcedMost || said > 10*time.Millisecond && why == follow.BySelection) {
		w.fail("%s becomes the primary, and is none", s.addr)
	}
	missed := c.pausedUntil > 0 && w.now-c.pausedUntil < missedMost // that it was the primary
	if s.left && w.truth != s && w.trouble < w.now && !w.named(s) && !missed && (c.calm || w.leader == nil && w.named(w.truth) && (why == follow.BySelection && !c.unheardOf(s) || why == follow.ByAnnouncement && c.told())) {
		w.fail("%s becomes the primary (%v), which the sentinels have left", s.addr, why)
	}
	if s.stray && w.truth != s && w.trouble < s.diedAt && (2*len(s.downBy) > w.members() || w.ledAt < s.diedAt && 2*len(s.lostBy) > w.members()) { // one that is promoted is disconnected, too
		w.fail("%s becomes the primary (%v), which was lost and has come back as one", s.addr, why)
	}
	if epoch := c.state.View().Epoch; epoch > w.said {
		w.failUnlessOutnumbered("epoch %d is taken, and none that is well has told more than %d", epoch, w.said)
	}
	switch why {
	case follow.ByReturn:
		c.cameBack(l)
	default:
		if !recent && !l.heard {
			w.fail("%s becomes the primary (%v), and no sentinel had been heard for %v when it was dialled", s.addr, why, freshFor)
		}
	}
}

// hearName notes that a sentinel names a server to which an operator gave the name.
func (c *client) hearName(e follow.Heard) {
	s, q := c.world.server(e.Report.Addr), c.world.sentinel(e.Sentinel)
	if s != nil && s.givenAt > 0 && e.Asked.Sub(start()) > s.givenAt && q != nil && !q.rogue && !slices.Contains(s.namedBy, e.Sentinel) {
		s.namedBy = append(s.namedBy, e.Sentinel)
	}
}

// hearLost notes which servers a sentinel has lost that are dead, or knows as restarted.
func (c *client) hearLost(e follow.Heard) {
	if q := c.world.sentinel(e.Sentinel); q == nil || q.rogue {
		return
	}
	for _, r := range e.Report.Replicas {
		s := c.world.server(r.Addr)
		if s == nil || s.diedAt == 0 {
			continue
		}
		anew := s.alive && r.RunID == s.id
		if s.alive && !anew {
			continue
		}
		if (r.Lost || anew) && !slices.Contains(s.lostBy, e.Sentinel) {
			s.lostBy = append(s.lostBy, e.Sentinel)
		}
		if (r.Down || anew) && !slices.Contains(s.downBy, e.Sentinel) {
			s.downBy = append(s.downBy, e.Sentinel)
		}
	}
}

// unheardOf reports whether an operator gave a server the name, and most sentinels have not told
// the client so: there it is a replica still. If one that has gone wrong selects it after it has
// lost the name again, and it says that it is a primary, as it does, then that is all that a
// true failover looks like before most are heard; to wait for them would have writes wait in each
// true one. The move is provisional: named looks whether it is taken back.
func (c *client) unheardOf(s *server) bool {
	return s.givenAt > 0 && 2*len(s.namedBy) <= c.world.members()
}

// hears reports whether a sentinel was heard of late.
func (c *client) hears() bool { return c.world.now-c.lastHeard <= freshFor }

// heardSince reports whether most sentinels have been asked since a time, and have answered.
func (c *client) heardSince(at time.Duration) bool {
	n := 0
	for _, q := range c.world.sentinels {
		if !q.rogue && c.heardAt[q.addr] > at {
			n++
		}
	}
	return 2*n > c.world.members()
}

// told reports whether most sentinels have answered since the last of them named another primary:
// what they said before may have become a majority with one that lies. Of a server that was given
// the name, and lost it in a failover a moment later, the client need not have heard at all.
func (c *client) told() bool {
	at := time.Duration(0)
	for _, q := range c.world.sentinels {
		at = max(at, q.switchedAt)
	}
	return c.heardSince(at) && c.world.now-c.world.monitoredAt > demotedWithin
}

// cameBack looks at a primary that returns: most sentinels that are heard must not have named
// another since before it said that it is one.
func (c *client) cameBack(l *connection) {
	w := c.world
	if w.trouble+2*time.Second > w.now {
		return
	}
	n := 0
	for _, q := range w.sentinels {
		if !q.rogue && q.alive && !q.cut && w.now >= q.ignorant && c.watched[q.addr] && c.heardAt[q.addr] > max(w.now-2*time.Second, c.unheardAt[q.addr]) && q.primary != l.to && q.switchedAt < l.saidAt {
			n++
		}
	}
	if 2*n > w.members() {
		w.fail("%s returns, and most sentinels had named another by then", l.to.addr)
	}
}

// heardOf reports whether the state has heard the selection of a failover, of a sentinel that votes
// for sure.
func (c *client) heardOf(f *failover) bool {
	heard := c.chose[f.leader.addr]
	return (f.leader.seed || f.heard) && heard.addr == f.leader.call(f.to) && heard.known && heard.at >= f.began
}

// begins notes the failover that is under way as the client finds its first primary, if its leader
// has told of it.
func (c *client) begins() {
	f := c.world.leader
	if f == nil || c.swaps != 1 || !f.leader.seed {
		return
	}
	if at, told := c.midway[f.leader.addr]; told && at >= f.began {
		c.during = f
	}
}

// found looks whether a replica that was selected is found once it is the primary, whatever else
// was selected by those that have gone wrong. An abort of a failover before it may come late.
func (c *client) found(f *failover) {
	w, at, fenced := c.world, c.world.now, c.fencedAt
	if slices.ContainsFunc(w.sentinels, func(q *sentinel) bool {
		unheard := w.rogues() > 0 && !q.rogue && w.now-c.heardAt[q.addr] > follow.PollInterval+100*time.Millisecond
		return q.blank > 0 || q.ignorant > 0 || unheard
	}) {
		return // with one that has gone wrong they are too few who know the replica
	}
	if c.mode != follow.Eager || !c.fenced && !c.takesWrites(f.from) || !c.heardOf(f) || f.to.demotedAt != 0 || f.to.diedAt != 0 || f.to == w.servers[0] { // of one that was lost, or the primary, the word is doubted
		return
	}
	if f.to.wellAt > 0 && w.now < f.to.wellAt+dialTimeout {
		return // a dial of before is still without an answer
	}
	w.after(foundWithin, func() {
		waits := c.fenced && c.fencedAt == fenced || c.takesWrites(f.from)
		if waits && c.heardOf(f) && w.trouble < at && !c.paused() && f.to.primary && f.to.answers() && f.to.diedAt == 0 {
			w.fail("%s is selected and promoted, and writes wait for it, or go elsewhere, for %v", f.to.addr, foundWithin)
		}
	})
}

func (c *client) paused() bool { return c.world.now < c.pausedUntil }

// pause has the client's process stand still for a while. What has come meanwhile is found then, in
// any order to its timers.
func (c *client) pause(d time.Duration) {
	w := c.world
	if c.paused() || c.calm {
		return
	}
	w.tell("the client is stopped for %v", d)
	w.troubled(d + 2*time.Second)
	c.pausedUntil = w.now + d
	w.after(d, func() {
		w.tell("the client goes on")
		c.fencedAt += d
		c.keptAt += d
		if w.chance(50) {
			c.step(follow.Tick{})
		}
		if l := c.serving; l != nil && w.chance(50) {
			c.step(follow.Silent{Term: c.term, For: d})
			c.serverHeard(l.to)
		}
		late := c.late
		c.late = nil
		for _, e := range late {
			c.step(e)
		}
	})
}
