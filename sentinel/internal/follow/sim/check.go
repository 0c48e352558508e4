package sim

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

const (
	// fenceMost is how long a fence may stand: until the replica is the primary, and from then on
	// until the announcement.
	fenceMost = 5 * time.Second
	// fencesMost is how long fences of failovers that did not happen may stand within 15 s: a
	// second, or until the announcement of a server that says it is the primary. Half a second more
	// for each time that the client was stopped.
	fencesMost = 5100 * time.Millisecond
	// fencesLeast is the same where no other server has said that it is the primary.
	fencesLeast, fenceStop = 1100 * time.Millisecond, 550 * time.Millisecond
	// questionsMost is how many questions to the primary and to all sentinels there may be in a
	// second.
	questionsMost = 60
	// linksMost is how many connections there may be beside that of the primary, to two servers,
	// each with a question that it does not answer, and to the last primary.
	linksMost = 6
	// announcedMost is how old the word of a server may be that waits for the sentinels.
	announcedMost = 5 * time.Second
	// followWithin is how long commands may go to a server that most sentinels do not name any
	// more, while the client hears them.
	followWithin = 5 * time.Second
	// yieldWithin is how long the word of one sentinel, and of the server that it names, may go
	// before that of most others.
	yieldWithin = 8 * time.Second
)

// check looks for what must never be.
func (c *client) check() {
	if c.paused() {
		return
	}
	w, phase := c.world, c.state.Phase()
	serves := phase.Serves()
	switch {
	case serves == c.refused:
		w.fail("phase %v, and commands are refused: %v", phase, c.refused)
	case (phase == follow.Fenced) != c.fenced:
		w.fail("phase %v, and writes wait: %v", phase, c.fenced)
	case c.fenced && w.now-c.fencedAt > fenceMost:
		w.fail("writes wait for more than %v", fenceMost)
	case c.fenced && c.mode == follow.PushOnly:
		w.fail("a fence in a mode without")
	case c.refused && c.serving != nil && w.now-c.keptAt > downAfter+100*time.Millisecond:
		w.fail("calls are kept for longer than sentinels wait")
	}
}

// replicas looks at whom reads may go to, and passwords.
func (c *client) replicas() {
	for _, r := range c.state.View().Replicas {
		if s := c.world.server(r.Addr); s == nil || s.evil {
			c.world.failUnlessOutnumbered("%s may be read from, which no majority of the voters names", r.Addr)
		}
	}
}

// failUnlessOutnumbered fails, unless of the sentinels that were given or heard, and that know the
// name, no more are well than have gone wrong: then there is no majority to go by. One that has
// failed to answer, and was never heard, has no vote: else no client would begin without most.
func (w *World) failUnlessOutnumbered(format string, args ...any) {
	well := 0
	for _, q := range w.sentinels {
		if !q.rogue && w.now >= q.ignorant && (q.heard || q.seed && w.client.unheardAt[q.addr] == 0) {
			well++
		}
	}
	if well > w.rogues() {
		w.fail(format, args...)
	}
}

// lifted looks how long failovers that did not happen have kept writes waiting.
func (c *client) lifted() {
	w := c.world
	c.fences = append(c.fences, stay{c.raisedAt, c.fencedAt, w.now})
	var all time.Duration
	most := fencesLeast
	for _, f := range c.fences {
		if f.from > w.now-15*time.Second {
			all += f.to - f.from
			if f.from > f.began {
				most += fenceStop
			}
		}
	}
	if all > most && c.foundAt == 0 && c.mode != follow.PushOnly {
		w.fail("writes have waited for %v within 15 s, and no other primary was found", all)
	}
	if all > fencesMost && c.mode == follow.Eager {
		w.fail("writes have waited for %v within 15 s, and nothing has happened", all)
	}
}

// mayFence reports whether fences that came to nothing have not used up their time. Of stops that
// follow each other the state counts the first only.
func (c *client) mayFence() bool {
	var all time.Duration
	for _, f := range c.fences {
		if f.to > c.world.now-16*time.Second {
			all += f.to - f.began
		}
	}
	return all < 500*time.Millisecond
}

// countQuestion counts the questions to the primary and to all sentinels.
func (c *client) countQuestion() {
	w := c.world
	if w.now-c.questionsAt > time.Second {
		c.questions, c.questionsAt = 0, w.now
	}
	if c.questions++; c.questions > questionsMost {
		w.fail("more than %d questions in a second", questionsMost)
	}
}

// takesWrites reports whether writes reach a server now.
func (c *client) takesWrites(s *server) bool {
	return !c.paused() && !c.refused && !c.fenced && !c.held && c.serving != nil && c.serving.to == s && !c.serving.dead && s.answers() && s.primary
}

// promoted looks, at the moment at which a replica is promoted, for writes that are lost. In a
// planned failover whose selection was heard writes wait by then.
func (c *client) promoted(f *failover) {
	if c.calm && f.planned && c.mode != follow.PushOnly && c.takesWrites(f.from) {
		c.world.fail("%s is promoted while writes are acknowledged by %s", f.to.addr, f.from.addr)
	}
	if c.mode != follow.PushOnly && c.heardOf(f) && c.knows(f.leader.call(f.to)) && c.takesWrites(f.from) && c.mayFence() {
		c.world.fail("%s is promoted, whose selection was heard, while writes are acknowledged by %s", f.to.addr, f.from.addr)
	}
	if c.mode != follow.PushOnly && c.swaps == 1 && c.during == f && c.knows(f.leader.call(f.to)) && c.takesWrites(f.from) && c.mayFence() {
		c.world.fail("%s is promoted, and the client, which began during that failover, writes to %s", f.to.addr, f.from.addr)
	}
	if c.mode != follow.PushOnly && c.learned(f) && c.takesWrites(f.from) && c.mayFence() {
		c.world.fail("%s is promoted, which was told once its selection was heard, while writes are acknowledged by %s", f.to.addr, f.from.addr)
	}
	c.found(f)
}

// learned reports whether the state has heard the selection of a failover before most sentinels
// told it of the replica, and knows by now that this goes on. It has served from the same primary
// since.
func (c *client) learned(f *failover) bool {
	by := f.leader.addr
	heard := c.chose[by]
	selected := (f.leader.seed || f.heard) && heard.addr == f.leader.call(f.to) && !heard.known && heard.at >= f.began
	restarted := f.from.diedAt > 0 && f.leader.names // most may not have told its new run id with the address that is known
	return selected && !restarted && c.toldAt < heard.at && c.midway[by] >= heard.at && c.heardAt[by] >= heard.at && c.knows(heard.addr) && c.state.Phase() == follow.Up && c.world.rogues() == 0
}

// named looks, a while after a sentinel has named a primary, for writes to another one.
func (c *client) named(s *server) {
	w := c.world
	if !w.named(s) {
		return
	}
	at := w.now
	var look func()
	look = func() {
		n := 0
		for _, q := range w.sentinels {
			switch {
			case q.rogue || !q.alive || q.cut || q.primary != s || w.now < q.blank || w.now < q.ignorant:
			default:
				n++
			}
		}
		if 2*n <= w.members() || w.truth != s || w.leader != nil || !s.primary || !s.answers() || w.trouble > at {
			return
		}
		for _, other := range w.servers {
			switch until := c.excused(max(at, s.wellAt)); {
			case other == s || !c.takesWrites(other):
			case w.now < until:
				w.after(until-w.now, look)
			default:
				w.fail("writes go to %s, and most sentinels have named %s for %v", other.addr, s.addr, w.now-at)
			}
		}
	}
	w.after(followWithin, look)
}

// excused is until when commands may go elsewhere although most sentinels have named a primary at a
// time that answers since then. Those that know nothing meanwhile count from when they do. Where a
// sentinel's selection or announcement has led the client, that one may have gone wrong, or died
// since, and the others have to be heard to say otherwise.
func (c *client) excused(at time.Duration) time.Duration {
	at = max(at, c.world.knownAt)
	for _, q := range c.world.sentinels {
		at = max(at, q.blank)
	}
	if c.why == follow.BySelection || c.why == follow.ByAnnouncement {
		return max(c.toldAt, at) + yieldWithin
	}
	return at + followWithin
}

// named reports whether most sentinels name a server.
func (w *World) named(s *server) bool {
	n := 0
	for _, q := range w.sentinels {
		if !q.rogue && q.primary == s {
			n++
		}
	}
	return 2*n > w.members()
}

// reverted looks whether a move is taken back that most sentinels have announced.
func (c *client) reverted() {
	w, at := c.world, c.state.View().Addr
	if c.calm && w.server(at) == w.truth && w.leader == nil {
		w.fail("the move to %s is taken back, and it was announced", at)
	}
}

// atEnd looks whether the client has found the primary.
func (c *client) atEnd() {
	w := c.world
	c.fenced = false // a rogue may raise one at any time
	if !c.takesWrites(w.truth) {
		at := "nowhere"
		if c.serving != nil {
			at = c.serving.to.addr
		}
		w.fail("all is well since %v, and the client is in phase %v, at %s, not at %s", end-healAt, c.state.Phase(), at, w.truth.addr)
	}
}
