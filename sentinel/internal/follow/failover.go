package follow

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxFences is how many fences there may be in fencePeriod, however short.
const maxFences = 64

// selected hears that a sentinel is about to promote a replica. While another failover is under way
// it may be that of the next one, from the server that the first leads to.
func (s *State) selected(c selection) {
	if s.config.Mode == PushOnly || !s.allowed(c.addr) {
		return
	}
	if c.kept = !s.known(c.addr); c.kept { // too few may have been heard
		s.move.choose(c)
		return
	}
	here := c.addr == s.primary.addr
	if here && s.phase == Provisional && slices.ContainsFunc(s.move.chosen, c.matches) {
		return // it is of the failover that has led there, and comes late
	}
	if here || s.phase == Provisional || s.phase == Forced { // here: late, too, or from a server that is yet to be followed
		s.move.choose(c)
		return
	}
	s.cut(errOvertaken)
	s.fence(c)
	if s.next.trigger != BySelection || s.next.addr == "" {
		s.pursue(s.toSelected(c.addr))
	}
	s.judgeReturn()
}

// early takes in an event before the first decision: a failover that has begun by then is followed
// once the primary is found.
func (s *State) early(e Pushed) {
	switch {
	case s.config.Mode == PushOnly:
	case e.Kind == Selected:
		s.move.choose(s.selectionOf(e))
	case e.Kind == Aborted:
		s.move.chosen = slices.DeleteFunc(s.move.chosen, func(c selection) bool { return c.by == e.Sentinel })
	}
}

// maxMissed is how many replicas are asked where it is not known which of them was selected.
const maxMissed = 8

// missed follows a failover that a sentinel had begun before it was heard: it leads one, and its
// selection was not heard, or names an address that the others do not tell, as where some tell host
// names. Any replica may be the one.
func (s *State) missed(v *voter) {
	serves := s.phase == Up || s.phase == Fenced
	if s.config.Mode == PushOnly || !serves || !v.fresh(s.now) || !v.votes() || !v.report.Midway || s.named(v) != s.primary.addr || !v.asked.After(v.abortAt) ||
		slices.ContainsFunc(s.move.chosen, func(c selection) bool { return c.by == v.addr && c.addr != s.primary.addr && s.known(c.addr) }) {
		return
	}
	all := s.replicas(s.fresh())
	if len(all) == 0 {
		return
	}
	heard := slices.DeleteFunc(slices.Clone(s.move.chosen), func(c selection) bool {
		return c.by != v.addr || c.guessed || !s.pending(c)
	})
	s.selected(selection{by: v.addr, addr: all[0].Addr, at: s.now})
	s.move.chosen = slices.DeleteFunc(s.move.chosen, func(c selection) bool { return c.by == v.addr })
	s.move.chosen = append(s.move.chosen, heard...) // most may list it in a moment

	for _, r := range all[:min(len(all), maxMissed)] { // each is asked in its turn
		s.move.chosen = append(s.move.chosen, selection{by: v.addr, addr: r.Addr, at: s.now, guessed: true})
	}
}

// missedAll does so for all sentinels that have been heard for less than a time.
func (s *State) missedAll(limit time.Duration) {
	for _, v := range s.fresh() {
		if s.now.Sub(v.since) < limit {
			s.missed(v)
		}
	}
}

// goOn follows the selections of the next failover, which may have begun already: those since the
// one that has led to the primary, and those whose sentinel says so.
func (s *State) goOn() {
	if s.phase == Provisional {
		return
	}
	here := func(c selection) bool { return c.addr == s.primary.addr }
	led := slices.IndexFunc(s.move.chosen, here)
	var next []selection
	for i, c := range s.move.chosen {
		if !here(c) && (i > led || s.leads(c)) {
			next = append(next, c)
		}
	}
	s.reselect(next)
}

// reselect follows those selections that may still come to something, and no others. One whose
// replica too few list at present is kept.
func (s *State) reselect(all []selection) {
	s.move.chosen = nil
	for _, c := range all {
		switch {
		case !s.pending(c) || c.guessed:
		case s.known(c.addr):
			s.selected(c)
		default:
			c.kept = true
			s.move.choose(c)
		}
	}
}

// takeUp follows a selection that was kept, once most list its replica, if its sentinel says that
// the failover goes on.
func (s *State) takeUp() {
	for _, c := range slices.Clone(s.move.chosen) {
		if s.phase == Up && (s.next.addr == "" || c.kept) && c.addr != s.primary.addr && s.pending(c) && s.leads(c) && s.known(c.addr) {
			s.selected(c)
		}
	}
}

// fence holds writes back until the end of a failover, if fences that came to nothing have not used
// up their time.
func (s *State) fence(c selection) {
	m := &s.move
	m.choose(c)
	if s.phase != Up {
		return
	}
	limit := fenceLimit - s.wastedTime()
	m.chosen = slices.DeleteFunc(m.chosen, func(c selection) bool { return !s.pending(c) })
	if limit <= 0 {
		return
	}
	m.began, m.until, m.promoted, m.extended = s.now, s.now.Add(limit), false, false
	s.become(Fenced)
	s.do(Fence{Candidate: c.addr, Sentinel: c.by})
}

// wastedTime is for how long fences of late have had writes wait for nothing.
func (s *State) wastedTime() (all time.Duration) {
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

// dueMove ends a wait that was in vain.
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
// the primary is the same. The others say so during every failover, of which they hear when it is
// announced: where the leader is silent they decide only once the time is over.
func (s *State) judgeMove() {
	m := &s.move
	from := cmp.Or(m.from, s.primary.addr)
	for _, c := range slices.Clone(m.chosen) {
		if v := s.voters.find(c.by); s.isOver(c) && s.named(v) == from && v.lists(c.addr) {
			its := func(o selection) bool { return o == c } // it may have begun another one since
			s.unselect(its, fmt.Errorf("the sentinel at %s has ended the failover, and names %s", c.by, from))
		}
	}
	if s.phase == Up && s.next.addr == "" {
		m.chosen = slices.DeleteFunc(m.chosen, s.hasLed)
	}
}

// unselect takes in that failovers will not happen. Others may.
func (s *State) unselect(its func(selection) bool, why error) {
	m := &s.move
	followed := func(c selection) bool { return (m.from != "") == (c.addr == s.primary.addr) } // others are of the next failover
	ends := slices.ContainsFunc(m.chosen, func(c selection) bool { return its(c) && followed(c) })
	m.chosen = slices.DeleteFunc(m.chosen, its)
	if ends && !slices.ContainsFunc(m.chosen, followed) {
		s.aborted(why)
	}
}

// aborted takes in that the failover will not happen. A server moved to before the primary was
// forced away is left once it is given back.
func (s *State) aborted(why error) {
	if s.next.trigger == BySelection {
		s.callOff(&s.next)
		for i := range s.aside {
			s.callOff(&s.aside[i])
		}
		s.aside = nil
	}
	s.lift()
	switch {
	case s.move.from == "":
	case s.phase == Forced:
		s.move.until = s.now
	default:
		s.revert(why)
	}
}

// confirm notes that the sentinels have announced the primary.
func (s *State) confirm() {
	if s.phase == Provisional {
		s.become(Up)
		s.do(Confirmed{})
	}
	s.move.unsettled = ""
	if s.move.from != "" {
		s.move.from, s.move.until = "", time.Time{}
		s.goOn()
	}
}

// hearPublished takes in that a sentinel calls the primary, which is not announced yet, the new
// one. The word of the sentinel that has chosen it counts, or that of most: they may answer no
// question meanwhile.
func (s *State) hearPublished(e Pushed) {
	if s.hasChosen(e) {
		s.primary.hearsay = true
		s.confirm()
		return
	}
	if e.Kind == Switched {
		s.move.published = append(s.move.published, s.selectionOf(e))
		s.confirmByMost(s.primary.epoch)
	}
}

// revert goes back to what the majority of the sentinels says. While none is heard the move is
// neither confirmed nor taken back, nor while too few are to agree on that it stands. Where too few
// are heard to go elsewhere, the server that was moved to may return, and is provisional then, too,
// until most name another.
func (s *State) revert(why error) {
	m, from := &s.move, s.move.from
	elected, majority := s.elect()
	if elected.addr == "" || !majority && (elected.addr == s.primary.addr || m.unsettled != "") {
		m.until = s.now.Add(PollInterval)
		return
	}
	m.from, m.until, m.unsettled = "", time.Time{}, ""
	m.chosen = slices.DeleteFunc(m.chosen, func(c selection) bool { // later ones are of the next failover, which may lead there again
		return c.addr == s.primary.addr && (!c.at.After(m.began) || !s.pending(c))
	})
	if !majority { // one that has gone wrong may have told it
		elected.epoch = min(elected.epoch, s.primary.epoch)
	}
	s.do(Reverted{Addr: elected.addr, Cause: why})
	if elected.addr == s.primary.addr {
		m.chosen = slices.DeleteFunc(m.chosen, func(c selection) bool { return c.addr == s.primary.addr })
		if s.phase == Provisional {
			s.become(Up)
		}
		return
	}
	if !majority {
		m.unsettled = from
	}
	s.comeBack(from)
	s.lose(why)
	s.aim(elected.addr, elected.epoch)
}

// aim makes addr the one to try while there is no primary.
func (s *State) aim(addr string, epoch int64) {
	if !s.mayFollow(addr) {
		s.do(Doubted{})
		return
	}
	if s.holds(addr) {
		s.install(s.next.link, addr, epoch, ByElection)
		return
	}
	s.cut(fmt.Errorf("the sentinels name %s", addr))
	s.leaveReturn()
	s.skip(epoch)
	s.primary.addr, s.primary.id, s.primary.epoch, s.primary.told = addr, "", epoch, 0
	later := func(v *voter) bool { return v.report.Addr == addr && !v.report.Midway && v.report.Epoch > epoch }
	s.primary.owned = !slices.ContainsFunc(s.fresh(), later) && s.most(func(v *voter) bool {
		return v.report.Addr == addr && !v.report.Midway && v.report.Epoch >= epoch
	})
	s.retry()
	s.pursue(asker{addr: addr, epoch: epoch, interval: announcedInterval, trigger: ByElection})
}

// consider follows a report of a later epoch, once the server itself says that it is the primary.
func (s *State) consider(said saying) {
	switch {
	case s.holds(said.addr):
		s.install(s.next.link, said.addr, said.epoch, ByAnnouncement)
	case s.next.addr == said.addr:
		s.next.epoch = said.epoch
		if s.calledPrimary(said.addr) { // that one has selected it means nothing any more
			s.next.trigger = ByAnnouncement
		}
	case s.next.addr == "" || s.calledPrimary(said.addr):
		s.pursue(toAnnounced(said))
	case s.next.stuck(s.now) && !s.calledPrimary(s.next.addr):
		a := toAnnounced(said)
		a.at, a.until = s.now, s.now.Add(confirmWithin)
		s.turnTo(a)
	} // else it is asked in its turn
}

// judgeReturn lets the primary return when a majority of the sentinels that vote and answer has
// named it since it did. Without any it may return at once. A few that know better, because a
// failover is under way or over, are waited for, though not for ever: they may have gone wrong. Who
// knows it may be the last to answer: so all that were heard of late have a moment, and who led a
// failover when it was heard last has until that is too old to count.
func (s *State) judgeReturn() {
	if s.phase != Returning {
		return
	}
	agree, disagree, ahead, owed := 0, 0, false, time.Time{}
	for _, v := range s.fresh() {
		switch {
		case v.asked.Before(s.move.returned) && s.replaces(v):
			owed = later(owed, v.asked.Add(freshFor))
		case v.asked.Before(s.move.returned):
			owed = later(owed, s.move.returned.Add(owedFor))
		case v.report.Midway || s.named(v) != s.target.addr:
			disagree++
			ahead = ahead || s.replaces(v) || v.report.Epoch > s.primary.epoch
		default:
			agree++
		}
	}
	up := len(s.fresh())
	switch {
	case s.next.addr != "" && s.next.trigger == BySelection && s.hinders():
		s.endReturn(errors.New("a failover is under way"))
	case 2*disagree >= up && disagree > 0 || ahead && s.now.Sub(s.primary.since) < refuseFor:
		s.endReturn(errors.New("the sentinels name another, or are about to"))
	case up != 0 && 2*agree <= up:
	case s.now.Before(owed):
	case s.primary.link != 0 && s.now.Before(s.move.returned.Add(resumeFirst)): // what it has kept may be answered in a moment
	default:
		s.install(s.target.link, s.target.addr, 0, ByReturn)
	}
}

// hinders reports whether selections keep the last primary from returning still. A sentinel that
// has gone wrong may select without end: so they do no longer than one of them may take.
func (s *State) hinders() bool {
	if s.move.hindered.IsZero() {
		s.move.hindered = s.now
	}
	return s.now.Sub(s.move.hindered) < confirmWithin
}

// returnDue is when a return is to be judged again; zero: only when somebody is heard.
func (s *State) returnDue() time.Time {
	for _, wait := range []time.Duration{resumeFirst, owedFor} {
		if due := s.move.returned.Add(wait); s.now.Before(due) {
			return due
		}
	}
	return time.Time{}
}

// install makes a server the primary. Epoch 0 of one that was selected is that the sentinels have
// not announced it yet.
func (s *State) install(link Link, addr string, epoch int64, why Trigger) {
	p, from := &s.primary, cmp.Or(s.primary.last, s.primary.addr) // of a first one: whom most name
	if addr == from {
		from = p.addr // whom most name, if the move here was taken back
	}
	last, moved := p.last, addr != from && from != ""
	if why == BySelection {
		s.cut(errOvertaken) // it has stalled, and a failover has begun
	}
	s.endFence()
	s.endRepair()
	s.release(link)
	for _, before := range []string{from, p.addr} { // that served, and that was to be tried after a move was taken back
		if before != addr && before != "" {
			s.leave(before, saying{addr, epoch}, why)
			s.noReplica(before)
		}
	}
	if addr != p.addr {
		// As of a replica: it may be announced by another address.
		p.id, p.told, p.owned = s.replicaID(addr), 0, false
	}
	s.noReplica(addr)
	s.skip(epoch)
	p.told, p.hearsay = max(p.told, epoch), p.hearsay && addr == from && epoch == 0 // a return confirms nothing
	p.addr, p.last, p.link, p.term = addr, addr, link, link
	s.identify()
	p.since, p.cause, p.cutAt, p.alarms, p.beat = s.now, nil, time.Time{}, false, Beat{}
	if epoch > p.epoch && s.most(func(v *voter) bool { return s.named(v) == addr && v.report.Epoch >= epoch }) {
		// Else one that has gone wrong may have announced it: raise notes what the others say.
		p.epoch, p.owned = epoch, true
	}
	if moved {
		s.noteMove(from, epoch, why)
	}
	s.becomeAwaited(why)
	s.do(Swap{Link: link, Addr: addr, Previous: last, Epoch: max(p.epoch, epoch), Trigger: why})
	s.raise() // it may have been announced by now, and be about to be replaced
	if s.move.from != "" && slices.ContainsFunc(s.move.chosen, s.isAnnounced) {
		p.hearsay = true
		s.confirm()
	}
	if moved || s.phase == Provisional {
		s.goOn()
		return
	}
	s.reselect(s.move.chosen) // none of them has led to the primary of before
	s.missedAll(missedFor(last))
}

// noteMove notes a move from a server, which the sentinels may have to announce yet.
func (s *State) noteMove(from string, epoch int64, why Trigger) {
	m := &s.move
	m.from, m.until, m.unsettled, m.back = "", time.Time{}, "", s.leaver(s.primary.addr) != nil
	if epoch == 0 && why == BySelection {
		m.from, m.began, m.until, m.published = from, s.now, s.now.Add(confirmWithin), nil
	}
}

// becomeAwaited begins the phase of a new primary: it depends on whether it is to be announced yet.
func (s *State) becomeAwaited(why Trigger) {
	m := &s.move
	s.comeBack(s.primary.addr)
	if why != ByReturn {
		m.unsettled = ""
	}
	if m.unsettled != "" {
		m.from, m.began, m.until = m.unsettled, s.now, s.now.Add(PollInterval)
	}
	if m.from != "" {
		s.become(Provisional)
		return
	}
	s.become(Up)
}

// missedFor is for how long after its first answer a sentinel may have published a selection that
// is lost. For the first primary all of them may.
func missedFor(last string) time.Duration {
	if last == "" {
		return forgetAfter
	}
	return PollInterval
}
