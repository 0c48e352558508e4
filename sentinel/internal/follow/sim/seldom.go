package sim

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// seldom has happen what some seeds have for it.
func (w *World) seldom(kind uint64) {
	calm, wrong := w.client.calm, w.rogues() > 0
	switch {
	case kind == 73 && !calm && !wrong:
		w.after(w.between(1500*time.Millisecond, 3*time.Second), w.announceLate)
	case kind == 75 && wrong:
		w.after(w.between(time.Second, 1500*time.Millisecond), w.backUnheard)
	case kind == 76 && !calm && !wrong:
		w.after(w.between(2*time.Second, 4*time.Second), w.learnDuring)
	case kind == 78 && !calm:
		w.after(w.between(1500*time.Millisecond, 4*time.Second), w.moveUnasked)
	case kind == 83 && !calm && w.client.mode == follow.Eager:
		w.after(w.between(1500*time.Millisecond, 3*time.Second), w.answerLate)
	case kind == 85 && !calm && !wrong:
		w.after(w.between(1500*time.Millisecond, 3*time.Second), w.backAtOnce)
	case kind == 87 && wrong:
		w.after(w.between(1500*time.Millisecond, 4*time.Second), w.mislead)
	case kind == 88 && wrong:
		w.after(w.between(time.Second, 5*time.Second), w.insist)
	case kind == 89 && !calm && !wrong:
		w.after(w.between(100*time.Millisecond, 500*time.Millisecond), w.undoReturned)
	case kind == 90 && !calm && !wrong:
		w.after(w.between(500*time.Millisecond, 650*time.Millisecond), w.undoHeld)
	case kind == 91 && !calm && !wrong:
		w.after(w.between(1500*time.Millisecond, 3*time.Second), w.forgetBefore)
	case kind == 92 && !calm:
		w.after(w.between(time.Second, 3*time.Second), w.forgetDuring)
	case kind == 93 && !calm:
		w.after(w.between(time.Second, 3*time.Second), w.undoUnheard)
	case kind == 94 && !calm:
		w.after(w.between(time.Second, 3*time.Second), w.moveAnew)
	case kind == 95 && wrong:
		w.after(w.between(time.Second, 5*time.Second), func() { w.sentinels[0].waver(w.now + 2*time.Second) })
	case kind == 96 && !calm: // the client begins during a failover, or a moment before
		w.after(w.between(0, 5*time.Millisecond), func() { w.failOver(true) })
	case kind == 97:
		w.after(w.between(time.Second, 3*time.Second), w.slowDown)
	case kind == 98:
		w.spite = wrong
	case kind == 99:
		w.after(w.between(0, 5*time.Millisecond), func() { w.client.pause(w.between(50*time.Millisecond, 2*time.Second)) })
	}
}

// lagBehind has a failover to a third server begin as soon as the leader of the one before has
// announced that, and all others hear of both late.
func (w *World) lagBehind() {
	w.lag = w.between(500*time.Millisecond, 2*time.Second)
	w.failOver(true)
	if w.leader != nil {
		w.afterwards(w.leader, func() { w.failOver(true) })
	}
}

// forgetDuring has all sentinels forget each other and the replicas while a failover is announced.
func (w *World) forgetDuring() {
	w.failOver(true)
	w.after(w.between(300*time.Millisecond, 2500*time.Millisecond), func() {
		d := w.between(time.Second, 2*time.Second)
		w.tell("sentinels forget what is about the primary for %v, all of them", d)
		for _, x := range w.sentinels {
			x.blank = w.now + d
		}
	})
}

// learnDuring has the sentinels forget the replicas, and know them again when a failover begins:
// the client hears of the selection before it is told of the replica.
func (w *World) learnDuring() {
	if !w.heard() || w.leader != nil {
		return
	}
	d := w.between(1100*time.Millisecond, 1500*time.Millisecond)
	w.tell("sentinels forget what is about the primary for %v, all of them", d)
	w.troubled(d + follow.PollInterval + 100*time.Millisecond)
	for _, x := range w.sentinels {
		x.blank = w.now + d
	}
	w.after(d, func() { w.failOver(true) })
}

// undoUnheard has the leader of a failover die once the replica is promoted, and no sentinel be
// heard for as long as the client waits for its announcement.
func (w *World) undoUnheard() {
	if !w.heard() {
		return
	}
	w.failOver(true)
	f := w.leader
	if f == nil {
		return
	}
	w.after(200*time.Millisecond, func() {
		f.leader.alive = false
		w.after(w.between(5*time.Second, 6*time.Second), func() { f.leader.alive = true })
		d := w.between(3*time.Second, 4500*time.Millisecond)
		w.tell("sentinel %s dies, and none is heard for %v", f.leader.addr, d)
		w.troubled(d)
		for _, x := range w.sentinels {
			x.cut = true
		}
		w.after(d, func() {
			for _, x := range w.sentinels {
				x.cut = false
			}
			at := w.now
			w.after(2500*time.Millisecond, func() {
				if !f.noticed && w.leader == nil && w.truth == f.from && w.clear(at) && w.client.takesWrites(f.to) {
					w.fail("the failover to %s was undone, no sentinel knows of it, and writes go there", f.to.addr)
				}
			})
		})
	})
}

// heard reports whether the client has heard all sentinels: of those that it has never heard, and
// that too few are there to name, it takes no word.
func (w *World) heard() bool {
	return !slices.ContainsFunc(w.sentinels, func(x *sentinel) bool { return !x.heard })
}

// clear reports whether nothing has kept the client from hearing of what has happened since a time.
func (w *World) clear(at time.Duration) bool {
	return w.trouble <= at && w.rogues() == 0 && w.knownAt == 0
}

// undoHeld has the leader of a failover die once the replica is promoted, and stay away. In mode
// FenceOnly the client holds a connection to that replica.
func (w *World) undoHeld() {
	if !w.heard() {
		return
	}
	w.failOver(true)
	f := w.leader
	if f == nil {
		return
	}
	w.after(200*time.Millisecond, func() {
		w.tell("sentinel %s dies", f.leader.addr)
		f.leader.alive = false
	})
	at := w.now
	w.after(7300*time.Millisecond, func() {
		if !f.noticed && !f.leader.alive && w.clear(at) && w.client.state.Phase() == follow.Up && w.client.isOver(at) {
			w.client.holdsNo(f.to)
		}
	})
}

// isOver reports whether a fence since a time was lifted long ago, and nothing was selected since.
func (c *client) isOver(at time.Duration) bool {
	n := len(c.fences)
	if n == 0 || c.world.now-c.fences[n-1].to < 3100*time.Millisecond {
		return false
	}
	for _, heard := range c.chose {
		if heard.at > at+3*time.Second {
			return false
		}
	}
	return true
}

func (c *client) holdsNo(s *server) {
	for _, l := range c.links {
		if l.to == s {
			c.world.fail("the failover to %s is over, and a connection to it is held", s.addr)
		}
	}
}

// insist has one that has gone wrong select a replica again and again, and say that it leads a
// failover. The client is stopped while writes wait.
func (w *World) insist() {
	s := w.sentinels[0]
	w.tell("sentinel %s insists", s.addr)
	s.insists = true
	for i := range 20 {
		w.after(time.Duration(i)*250*time.Millisecond, func() { s.push(follow.Selected, w.servers[1]) })
	}
	w.after(w.between(700*time.Millisecond, 990*time.Millisecond), func() { w.client.pause(w.between(300*time.Millisecond, 2*time.Second)) })
}

// undoReturned has the leader of a failover die once it has told of the promotion, and the client
// lose that server for a moment in which no sentinel is heard.
func (w *World) undoReturned() {
	if !w.heard() {
		return
	}
	w.failOver(true)
	f := w.leader
	if f == nil {
		return
	}
	at := w.now
	f.then = func() {
		f.leader.alive = false
		for _, x := range w.sentinels {
			x.cut = true
		}
		w.tell("sentinel %s dies, and none is heard for a moment", f.leader.addr)
		w.after(20*time.Millisecond, func() { w.client.step(follow.Died{Term: w.client.term, Err: errEOF}) })
		w.after(700*time.Millisecond, func() {
			for _, x := range w.sentinels {
				x.cut = false
			}
		})
		w.after(8*time.Second, func() {
			if w.leader == nil && w.truth == f.from && w.clear(at) && w.client.takesWrites(f.to) {
				w.fail("the failover to %s was undone, no sentinel knows of it, and writes go there", f.to.addr)
			}
		})
	}
}

// forgetBefore has all sentinels forget each other, and then a failover that one leads which the
// client was not given.
func (w *World) forgetBefore() {
	w.tell("sentinels forget each other")
	w.lonely = w.now + 4*time.Second
	at := w.now
	w.after(w.between(1200*time.Millisecond, 3*time.Second), func() {
		w.failOver(true)
		if f := w.leader; f != nil && w.clear(at) && w.identities == 0 {
			f.heard = f.leader.heard && w.client.heardSince(w.now-1200*time.Millisecond)
		}
	})
}

// moveAnew has the sentinels set up anew, and two failovers just after that, one after another.
// The first may have the epoch of before.
func (w *World) moveAnew() {
	w.setUpAnew()
	w.after(w.between(0, 500*time.Millisecond), func() { w.failOver(true) })
	w.after(w.between(time.Second, 4*time.Second), func() { w.failOver(true) })
}

// mislead has a replica that one that has gone wrong announces die, and come back as a primary, as
// one whose configuration is not kept.
func (w *World) mislead() {
	r := w.servers[1]
	fits := func() bool {
		return r != w.truth && (w.leader == nil || w.leader.to != r) && !r.evil && !r.disowned && !r.primary
	}
	w.sentinels[0].idol = r
	w.after(300*time.Millisecond, func() {
		if !fits() {
			return
		}
		r.die()
		w.after(w.between(1600*time.Millisecond, 2300*time.Millisecond), func() {
			if r.alive || !fits() {
				return
			}
			r.restart()
			w.tell("%s is a primary, which nobody wants", r.addr)
			r.primary, r.of, r.stray = true, nil, true
			w.after(w.between(time.Second, 3*time.Second), func() {
				if r.stray = false; w.truth != r {
					r.demote(w.truth)
				}
			})
		})
	})
}
