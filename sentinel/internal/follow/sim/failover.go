package sim

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// failover is one that is under way.
type failover struct {
	world   *World
	leader  *sentinel
	from    *server
	to      *server
	planned bool
	began   time.Duration
	noticed bool   // its leader has seen the promotion
	then    func() // when its leader has told of that
	heard   bool   // its leader has a vote, though the client was not given it
}

// failOver begins a failover, if most sentinels live and there is a replica.
func (w *World) failOver(planned bool) {
	able := w.honest()
	if 2*len(able) > w.members() {
		able = slices.DeleteFunc(able, func(s *sentinel) bool { return s.primary != w.truth })
	}
	if len(able) == 0 || w.leader != nil || 2*len(w.honest()) <= w.members() {
		return
	}
	var replicas []*server
	for _, s := range w.servers {
		if s != w.truth && s.alive && !s.stalled() && !s.evil && !s.disowned && (w.client.calm || !s.primary && s.of == w.truth) && (w.lag == 0 || s != w.servers[0]) {
			replicas = append(replicas, s)
		}
	}
	if len(replicas) == 0 {
		return
	}
	f := &failover{w, able[w.rng.IntN(len(able))], w.truth, replicas[w.rng.IntN(len(replicas))], planned, w.now, false, nil, false}
	w.leader = f
	f.leader.midway = true
	w.tell("failover from %s to %s, led by %s, planned: %v", f.from.addr, f.to.addr, f.leader.addr, planned)
	if w.spite {
		f.spoil()
	}
	f.leader.push(follow.Selected, f.to)
	w.after(w.between(60*time.Millisecond, 200*time.Millisecond), f.promote)
}

// spoil has one that has gone wrong select another replica at the same moment, which does not
// answer.
func (f *failover) spoil() {
	w := f.world
	for _, s := range w.servers {
		if s != f.from && s != f.to && !s.evil && !s.disowned && !s.primary {
			s.cutOff(2 * time.Second)
			w.sentinels[0].push(follow.Selected, s)
		}
	}
}

// promote makes the replica a primary, or gives up.
func (f *failover) promote() {
	w := f.world
	switch {
	case !f.leader.acts():
		f.over()
		return
	case !f.to.alive || f.to.stalled() || w.chance(10) && !w.client.calm:
		w.tell("failover aborted")
		f.leader.midway = false
		f.leader.push(follow.Aborted, f.to)
		f.over()
		return
	}
	f.to.primary, f.to.of, f.to.left, f.to.stray = true, nil, false, false
	w.promotions++
	f.to.promotion, f.to.followed = w.promotions, false
	f.to.killedUntil = w.now + 100*time.Millisecond
	w.tell("%s is promoted", f.to.addr)
	w.client.promoted(f)
	if w.chance(10) && !w.client.calm {
		w.after(w.between(5*time.Millisecond, 300*time.Millisecond), w.client.swallow)
	}
	w.after(w.between(0, time.Second), f.notice)
}

// notice is when the leader sees the promotion: the failover cannot be undone but by the leader's
// death.
func (f *failover) notice() {
	w := f.world
	if !f.leader.acts() || !f.to.alive {
		f.undo()
		return
	}
	w.epoch++
	f.leader.epoch, f.noticed = w.epoch, true
	f.leader.push(follow.Promoted, f.to)
	if f.then != nil {
		w.after(5*time.Millisecond, f.then)
	}
	w.after(w.between(0, time.Second), f.announce)
}

// undo leaves two primaries: the sentinels still name the old one, and make the other a replica
// again.
func (f *failover) undo() {
	f.leader.midway = false
	f.world.tell("failover undone")
	to, from := f.to, f.from
	w := f.world
	least := time.Second
	if f.then != nil {
		least = 9 * time.Second
	}
	w.after(w.between(least, 12*time.Second), func() {
		if w.truth == from {
			to.demote(from)
		}
	})
	f.over()
	w.after(max(w.trouble-w.now, 0), func() {
		if w.truth == from && w.leader == nil && w.rogues() == 0 { // one may have announced it
			w.client.named(from)
		}
	})
}

func (f *failover) over() {
	f.leader.midway = false
	f.world.leader = nil
}

// announce has the leader name the new primary, and the others a while later.
func (f *failover) announce() {
	w := f.world
	if !f.leader.acts() {
		f.undo()
		return
	}
	w.truth, f.from.left = f.to, true
	if w.now-w.announcedAt < 5*time.Second && !w.client.calm {
		w.troubled(5 * time.Second) // a sentinel that lags two failovers behind makes a majority with one that lies
	}
	w.announcedAt = w.now
	epoch := w.epoch
	slow := time.Duration(0)
	if w.chance(20) && !w.client.calm { // the leader waits for replicas to follow; others hear of it before
		for _, s := range w.honest() {
			if s != f.leader {
				f.switches(s, epoch)
				slow = w.between(0, 5*time.Second)
				break
			}
		}
	}
	w.after(slow, func() {
		f.switches(f.leader, epoch)
		f.leader.midway = w.leader != nil && w.leader.leader == f.leader // it may lead the next one by now
	})
	w.leader = nil
	for _, s := range w.sentinels {
		if s != f.leader && !s.rogue {
			w.after(w.lag+w.between(0, 2*time.Second), func() { f.switches(s, epoch) })
		}
	}
	for _, s := range w.servers {
		if s != f.to && !s.evil && !s.disowned {
			w.after(w.between(0, 10*time.Second), func() {
				if w.truth == f.to && (w.lag == 0 || w.leader == nil || w.leader.to != s) {
					s.demote(f.to)
				}
			})
		}
	}
}

// switches has one sentinel learn of the new primary, if it lives and knows no later one.
func (f *failover) switches(s *sentinel, epoch int64) {
	w := f.world
	switch {
	case s.epoch >= epoch && s != f.leader || epoch < w.epoch && w.lag == 0:
	case !s.alive:
		w.after(time.Second, func() { f.switches(s, epoch) })
	default:
		s.primary, s.epoch, s.midway, s.switchedAt = f.to, epoch, false, w.now
		s.push(follow.Switched, f.to)
		w.client.named(f.to)
	}
}
