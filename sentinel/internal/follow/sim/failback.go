package sim

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// confirmedMost is how long a move may wait for its announcement.
const confirmedMost = 3 * time.Second

// afterwards has something happen once a failover is over.
func (w *World) afterwards(f *failover, do func()) {
	if w.leader == f {
		w.after(20*time.Millisecond, func() { w.afterwards(f, do) })
		return
	}
	do()
}

// failBack has another failover begin, from the server that one has led to, whose replicas all
// others are by then.
func (w *World) failBack(f *failover) {
	if w.leader != nil || w.truth != f.to {
		return
	}
	for _, s := range w.servers {
		if s != f.to && !s.evil && !s.disowned {
			s.demote(f.to)
		}
	}
	w.failOver(true)
}

// backUnheard has the name monitored anew, and two failovers after that, while no sentinel is heard
// for long: the epoch of the second is no later than those of before. One that has gone wrong
// selects the server of the first, which has not heard yet that it is left.
func (w *World) backUnheard() {
	if !w.heard() || w.leader != nil || !w.agreed() || w.client.state.Phase() != follow.Up {
		return
	}
	d := w.between(5*time.Second, 6500*time.Millisecond)
	w.tell("the name is monitored anew, and no sentinel is heard for %v", d)
	w.troubled(d + follow.PollInterval + 100*time.Millisecond)
	w.epoch = 0
	for _, x := range w.sentinels {
		if x.cut = true; !x.rogue {
			x.epoch = 0
		}
	}
	w.failOver(true)
	f := w.leader
	w.after(d, func() {
		for _, x := range w.sentinels {
			x.cut = false
		}
	})
	if f == nil {
		return
	}
	w.afterwards(f, func() { w.failBack(f) })
	w.after(d+follow.PollInterval+w.between(100*time.Millisecond, 500*time.Millisecond), func() { w.sentinels[0].push(follow.Selected, f.to) })
}

// moveUnasked has the sentinels set up anew, and two failovers after that. Of the first all events
// of its leader but the selection are lost. The second begins as soon as the client has followed
// that and most have answered that they know of it, and none answers a question meanwhile.
func (w *World) moveUnasked() {
	if w.leader != nil || !w.agreed() {
		return
	}
	w.setUpAnew()
	w.epoch = w.rng.Int64N(3) // as many elections have come to nothing
	w.after(w.between(0, 300*time.Millisecond), func() {
		w.failOver(true)
		f := w.leader
		if f == nil {
			return
		}
		f.leader.deaf = true
		w.afterwards(f, func() {
			at := w.now
			var look func()
			look = func() {
				switch {
				case w.leader != nil || w.truth != f.to || w.now-at > confirmedMost:
				case w.client.takesWrites(f.to) && w.client.toldOf(f):
					f.leader.deaf = false
					w.mute(w.between(300*time.Millisecond, time.Second))
					w.failBack(f)
				default:
					w.after(time.Millisecond, look)
				}
			}
			look()
		})
	})
}

// toldOf reports whether most sentinels have told the client of a failover that is over.
func (c *client) toldOf(f *failover) bool {
	n := 0
	for _, q := range c.world.sentinels {
		if !q.rogue && q.primary == f.to && q.switchedAt > f.began && c.heardAt[q.addr] > q.switchedAt {
			n++
		}
	}
	return 2*n > c.world.members()
}

// answerLate has the client be stopped as a replica that was selected answers that it is one. That
// is read once it was promoted and left again.
func (w *World) answerLate() {
	stopped := w.client.pausedUntil > 0 // of stops that follow each other only the first counts
	if !w.heard() || w.leader != nil || stopped {
		return
	}
	w.failOver(true)
	f := w.leader
	if f == nil {
		return
	}
	w.afterwards(f, func() { w.failBack(f) })
	var look func()
	look = func() {
		switch {
		case w.leader != f || f.to.primary || w.client.paused():
		case w.client.asks(f.to):
			w.stopAsking(f.to)
		default:
			w.after(500*time.Microsecond, look)
		}
	}
	w.after(w.between(5*time.Millisecond, 50*time.Millisecond), look)
}

// asks reports whether a question to a server is under way.
func (c *client) asks(s *server) bool {
	for _, l := range c.links {
		if l.to == s && l.asked {
			return true
		}
	}
	return false
}

// stopAsking stops the client, for longer than between two polls, and looks where it goes before it
// has heard a sentinel: not to the server that was asked before, if that was left meanwhile.
func (w *World) stopAsking(s *server) {
	c, d := w.client, w.between(1300*time.Millisecond, 2900*time.Millisecond)
	c.pause(d)
	w.mute(d + 200*time.Millisecond)
	w.after(d, func() {
		until := w.now + 200*time.Millisecond
		var look func()
		look = func() {
			if s.left && w.truth != s && c.why == follow.BySelection && c.takesWrites(s) {
				w.fail("%s becomes the primary, as it said that it is a replica before the client was stopped", s.addr)
			}
			if w.now < until {
				w.after(time.Millisecond, look)
			}
		}
		look()
	})
}

// unheard has a failover of which the client hears nothing, and something happen as soon as so
// many sentinels know that it is over. From then on what they publish is heard again.
func (w *World) unheard(knowing int, do func(*failover)) {
	if !w.heard() || w.leader != nil {
		return
	}
	deafen := func(deaf bool) {
		for _, x := range w.sentinels {
			x.deaf = deaf
		}
	}
	deafen(true)
	w.mute(confirmedMost)
	w.failOver(true)
	f := w.leader
	if f == nil {
		deafen(false)
		return
	}
	until := w.now + confirmedMost
	var look func()
	look = func() {
		n := 0
		for _, x := range w.sentinels {
			if x.primary == f.to {
				n++
			}
		}
		switch {
		case w.now >= until:
			deafen(false)
		case w.leader == f || n < knowing:
			w.after(5*time.Millisecond, look)
		default:
			deafen(false)
			do(f)
		}
	}
	look()
}

// backAtOnce has a failover of which the client hears nothing until the next one has begun, which
// leads back.
func (w *World) backAtOnce() {
	w.unheard(2, func(f *failover) {
		w.failBack(f)
		for _, x := range w.sentinels {
			x.slow = w.now
		}
	})
}

// announceLate has the client hear of a failover only after the selection of the next one, twice,
// and before its leader has answered.
func (w *World) announceLate() {
	w.unheard(2, func(f *failover) {
		w.failBack(f)
		next := w.leader
		if next == nil {
			return
		}
		for _, x := range w.sentinels {
			if x.slow = w.now + 400*time.Millisecond; x != next.leader && x.primary == f.to {
				w.after(w.between(3*time.Millisecond, 10*time.Millisecond), func() { x.push(follow.Switched, f.to) })
				w.after(w.between(20*time.Millisecond, 50*time.Millisecond), func() { x.push(follow.Switched, f.to) })
			}
		}
	})
}
