package follow

import (
	"fmt"
	"slices"
	"time"
)

// move is a failover that is under way: in phase Fenced until the replica is the primary, in phase
// Provisional, or after the loss of such a primary, until it is announced.
type move struct {
	chosen   []selection
	from     string    // the primary before; empty unless the move was made, and is not announced yet
	began    time.Time // when writes began to wait, or the move was made
	until    time.Time // when the wait ends; zero: nothing is waited for
	promoted bool      // the replica says that it is the primary: not one sentinel's word any more
	extended bool      // and so the fence stands for longer
	wasted   []fenced  // fences of late that came to nothing
	returned time.Time // since when the last primary answers again, in phase Returning
}

// fenced is when a fence ended that came to nothing, and how long it took.
type fenced struct {
	at   time.Time
	took time.Duration
}

// maxFences is how many fences there may be in fencePeriod, however short.
const maxFences = 64

// selection is a replica that a sentinel has chosen to promote. While there are several, each
// replica is asked in turn.
type selection struct{ by, addr string }

// leaver is a server that was left.
type leaver struct {
	addr  string
	until time.Time // it is not gone back to, unless at a later epoch
	epoch int64
	at    time.Time // when
}

// maxLeavers is how many servers that were left are remembered.
const maxLeavers = 16

func (s *State) leaver(addr string) *leaver {
	if i := slices.IndexFunc(s.left, func(l leaver) bool { return l.addr == addr }); i >= 0 {
		return &s.left[i]
	}
	return nil
}

// leave remembers a server that was left, comeBack forgets it.
func (s *State) leave(addr string) {
	s.comeBack(addr)
	if len(s.left) == maxLeavers {
		s.left = slices.Delete(s.left, 0, 1)
	}
	s.left = append(s.left, leaver{addr: addr, until: s.now.Add(refuseFor), epoch: s.primary.epoch, at: s.now})
}

func (s *State) comeBack(addr string) {
	s.left = slices.DeleteFunc(s.left, func(l leaver) bool { return l.addr == addr })
}

// maxStandbys is how many servers that have been replicas are remembered.
const maxStandbys = 64

// stoodBy reports whether a server has been a replica since it was the primary, as far as is known:
// before, its word that it is the primary means nothing. It may be one of before that has come
// back, and has not been demoted yet.
func (s *State) stoodBy(addr string) bool { return slices.Contains(s.standbys, addr) }

// wasReplica notes that a server says, or most sentinels see, that it is a replica.
func (s *State) wasReplica(addr string) {
	if s.stoodBy(addr) {
		return
	}
	if len(s.standbys) == maxStandbys {
		s.standbys = slices.Delete(s.standbys, 0, 1)
	}
	s.standbys = append(s.standbys, addr)
}

func (s *State) noReplica(addr string) {
	s.standbys = slices.DeleteFunc(s.standbys, func(a string) bool { return a == addr })
}

// reckonReplicas notes which servers most sentinels see replicate, and which of them have become
// the primary since, or were lost: those may come back as anything. Of one that was left they must
// have seen it since.
func (s *State) reckonReplicas() {
	s.standbys = slices.DeleteFunc(s.standbys, func(addr string) bool {
		return s.calledPrimary(addr) || s.most(func(v *voter) bool { return v.sees(addr, func(r *Replica) bool { return r.Lost }) })
	})
	for _, by := range s.fresh() {
		for _, r := range by.report.Replicas {
			if !r.Usable || r.Addr == s.primary.addr || s.stoodBy(r.Addr) {
				continue
			}
			l := s.leaver(r.Addr)
			if s.most(func(v *voter) bool {
				return (l == nil || v.asked.After(l.at)) && v.sees(r.Addr, func(r *Replica) bool { return r.Usable })
			}) {
				s.wasReplica(r.Addr)
			}
		}
	}
}

// pushed takes in what a sentinel has published. It is asked in any case.
func (s *State) pushed(e Pushed) {
	v := s.voters.find(e.Sentinel)
	if v == nil {
		return
	}
	s.do(Poll{Sentinel: e.Sentinel})
	if !v.votes() || s.phase == Forced || !s.voters.settled(s.now) {
		return
	}
	switch e.Kind {
	case Selected:
		s.selected(e)
	case Promoted, Switched:
		switch {
		case s.phase == Provisional && e.Addr == s.primary.addr && slices.Contains(s.move.chosen, selection{e.Sentinel, e.Addr}):
			s.primary.hearsay = true
			s.confirm()
		case e.Addr != s.primary.addr && e.Kind == Switched && s.config.Mode != PushOnly && s.known(e.Addr):
			s.fence(e)
		}
	case Aborted:
		s.unselect(e.Sentinel, fmt.Errorf("sentinel says %s", e.Text))
	}
}

// selected hears that a sentinel is about to promote a replica.
func (s *State) selected(e Pushed) {
	if s.config.Mode == PushOnly || e.Addr == s.primary.addr || s.phase == Provisional || !s.known(e.Addr) || !s.allowed(e.Addr) {
		return
	}
	s.cut(errOvertaken)
	s.fence(e)
	if s.next.trigger != BySelection || s.next.addr == "" {
		s.pursue(s.toSelected(e.Addr))
	}
	s.judgeReturn()
}

func (s *State) toSelected(addr string) asker {
	return asker{addr: addr, interval: selectedInterval, trigger: BySelection}
}

// rotate asks the next of those that may be about to be the primary, if there are several: a
// sentinel that has gone wrong may have selected or announced one of them.
func (s *State) rotate() {
	if s.calledPrimary(s.next.addr) {
		return
	}
	all := s.candidates()
	at := slices.IndexFunc(all, func(a asker) bool { return a.addr == s.next.addr })
	for i := range all {
		a := all[(at+1+i)%len(all)]
		if a.addr != s.next.addr {
			a.at, a.until, a.patience = s.now.Add(selectedInterval), s.next.until, s.next.patience
			if s.next.stuck(s.now) { // where all are far away, each has its time in the end
				a.patience = 2 * max(a.patience, stuckAfter)
			}
			s.dropNext()
			s.next = a
			return
		}
	}
}

// candidates are the servers that were selected, and those that later reports name.
func (s *State) candidates() []asker {
	var all []asker
	for _, c := range s.move.chosen {
		if c.addr != s.primary.addr && s.known(c.addr) && !slices.ContainsFunc(all, func(a asker) bool { return a.addr == c.addr }) {
			all = append(all, s.toSelected(c.addr))
		}
	}
	for _, t := range s.ahead(false) {
		if s.mayFollow(t.addr) {
			all = slices.DeleteFunc(all, func(a asker) bool { return a.addr == t.addr })
			all = append(all, toAnnounced(saying{t.addr, t.epoch}))
		}
	}
	return all
}

// fence holds writes back until the end of a failover, if fences that came to nothing have not used
// up their time.
func (s *State) fence(e Pushed) {
	m := &s.move
	m.chosen = slices.DeleteFunc(m.chosen, func(c selection) bool { return c.by == e.Sentinel })
	m.chosen = append(m.chosen, selection{e.Sentinel, e.Addr})
	if s.phase != Up {
		return
	}
	limit := fenceLimit - s.wasted()
	m.chosen = m.chosen[len(m.chosen)-1:] // what there was before is over
	if limit <= 0 {
		return
	}
	m.began, m.until, m.promoted, m.extended = s.now, s.now.Add(limit), false, false
	s.become(Fenced)
	s.do(Fence{Candidate: e.Addr, Sentinel: e.Sentinel})
}

// wasted is for how long fences of late have had writes wait for nothing.
func (s *State) wasted() (all time.Duration) {
	m := &s.move
	m.wasted = slices.DeleteFunc(m.wasted, func(f fenced) bool { return s.now.Sub(f.at) > fencePeriod })
	if len(m.wasted) >= maxFences {
		return fenceLimit
	}
	for _, f := range m.wasted {
		all += f.took
	}
	return all
}

// endFence ends a fence, if there is one.
func (s *State) endFence() {
	if s.phase != Fenced {
		return
	}
	s.move.until = time.Time{}
	if s.next.state == holding {
		s.next.until = s.now.Add(confirmWithin)
	}
}

// lift ends a fence that came to nothing: the primary goes on.
func (s *State) lift() {
	if s.phase != Fenced {
		return
	}
	s.endFence()
	s.move.wasted = append(s.move.wasted, fenced{s.now, s.now.Sub(s.move.began)})
	s.become(Up)
	s.do(Lift{})
}

// dueMove ends what was waited for in vain.
func (s *State) dueMove() {
	m := &s.move
	switch {
	case m.until.IsZero() || s.now.Before(m.until):
	case m.from != "":
		s.revert(fmt.Errorf("no sentinel has confirmed it within %v", confirmWithin))
	case m.promoted && !m.extended:
		m.extended, m.until = true, s.now.Add(confirmWithin)
	default:
		s.lift()
	}
}

// judgeMove looks for an abort in what the sentinel says that leads the failover: it has ended, and
// the primary is the same.
func (s *State) judgeMove() {
	m := &s.move
	if s.phase != Fenced && s.phase != Provisional {
		return
	}
	from := s.primary.addr
	if s.phase == Provisional {
		from = m.from
	}
	for _, c := range slices.Clone(m.chosen) {
		v := s.voters.find(c.by)
		if v != nil && v.fresh(s.now) && v.asked.After(m.began) && !v.report.Midway && s.named(v) == from && v.lists(c.addr) {
			s.unselect(c.by, fmt.Errorf("the sentinel at %s has ended the failover, and names %s", c.by, from))
		}
	}
}

// unselect takes in that a sentinel's failover will not happen. That of another may.
func (s *State) unselect(by string, why error) {
	m := &s.move
	n := len(m.chosen)
	m.chosen = slices.DeleteFunc(m.chosen, func(c selection) bool { return c.by == by })
	if len(m.chosen) == n {
		return
	}
	followed := func(c selection) bool { return s.phase != Provisional || c.addr == s.primary.addr }
	if !slices.ContainsFunc(m.chosen, followed) {
		s.aborted(why)
	}
}

// aborted takes in that the failover will not happen.
func (s *State) aborted(why error) {
	if s.next.trigger == BySelection {
		s.dropNext()
	}
	s.lift()
	if s.move.from != "" {
		s.revert(why)
	}
}

// confirm notes that the sentinels have announced the primary.
func (s *State) confirm() {
	if s.phase == Provisional {
		s.become(Up)
		s.do(Confirmed{})
	}
	if s.move.from != "" {
		s.endMove()
	}
}

func (s *State) endMove() {
	s.move.from, s.move.until, s.move.chosen = "", time.Time{}, nil
}

// revert goes back to what the majority of the sentinels says.
func (s *State) revert(why error) {
	from := s.move.from
	s.endMove()
	elected, _ := s.elect()
	s.do(Reverted{Addr: elected.addr, Cause: why})
	if elected.addr == "" || elected.addr == s.primary.addr {
		if s.phase == Provisional {
			s.become(Up)
		}
		return
	}
	s.comeBack(from)
	s.lose(why)
	s.aim(elected.addr, elected.epoch)
}

// install makes a server the primary. Epoch 0 of one that was selected is that the sentinels have
// not announced it yet.
func (s *State) install(link Link, addr string, epoch int64, why Trigger) {
	p, from := &s.primary, s.primary.last
	moved := addr != from && from != ""
	if why == BySelection {
		s.cut(errOvertaken) // it has stalled, and a failover has begun
	}
	s.endFence()
	s.endRepair()
	s.release(link)
	for _, before := range []string{from, p.addr} { // that served, and that was to be tried after a move was taken back
		if before != addr && before != "" {
			s.leave(before)
			s.noReplica(before)
		}
	}
	s.comeBack(addr)
	s.noReplica(addr)
	if addr != p.addr {
		p.id, p.told = "", 0
	}
	p.told, p.hearsay = max(p.told, epoch), false
	p.addr, p.last, p.link, p.term = addr, addr, link, link
	p.since, p.cause, p.cutAt, p.alarms, p.beat = s.now, nil, time.Time{}, false, Beat{}
	if epoch > p.epoch && s.most(func(v *voter) bool { return s.named(v) == addr && v.report.Epoch >= epoch }) {
		p.epoch = epoch // else one that has gone wrong may have announced it: raise notes what the others say
	}
	to := Up
	if moved {
		s.move.from, s.move.until = "", time.Time{}
		if epoch == 0 && why == BySelection {
			s.move.from, s.move.began, s.move.until = from, s.now, s.now.Add(confirmWithin)
		}
	}
	if s.move.from != "" {
		to = Provisional
	}
	s.become(to)
	s.do(Swap{Link: link, Addr: addr, Previous: from, Epoch: max(p.epoch, epoch), Trigger: why})
}

// release ends the questions to all servers, but keeps a link.
func (s *State) release(link Link) {
	for _, a := range []*asker{&s.target, &s.next} {
		if a.link == link {
			a.link = 0
		}
		s.end(a)
	}
}
