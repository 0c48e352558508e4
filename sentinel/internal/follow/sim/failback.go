package sim

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

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
