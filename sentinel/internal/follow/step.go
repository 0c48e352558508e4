package follow

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// NewState returns a State that searches, and its first effects.
func NewState(now time.Time, c Config) (*State, []Effect) {
	s := &State{config: c, clock: clock{now: now}}
	s.primary.since = now
	for _, addr := range c.Seeds {
		s.voters.add(addr, now).seed = true
		s.do(Watch{addr})
	}
	s.setWake()
	return s, s.take()
}

// Step takes in an event. The effects are to be carried out in order; they are the caller's.
func (s *State) Step(now time.Time, e Event) []Effect {
	before := s.now
	s.now, s.voters.counted = now, false
	s.awake(before)
	if s.phase == Closed {
		s.drop(e)
		return s.take()
	}
	switch e := e.(type) {
	case Heard, Unheard, Pushed:
		s.sentinel(e)
	case Dialled, Answered, Failed, Ended:
		s.server(e)
	case Beat, Silent, Died, Alarm:
		s.heartbeat(e)
	case Force:
		s.force()
	case Reset:
		s.reset()
	case Close:
		s.lose(e.Err)
		s.stopAsking()
		s.become(Closed)
	}
	s.dueAll()
	s.setWake()
	return s.take()
}

// awake notes that this process was stopped since before, by a signal, in a container that was
// frozen or in a virtual machine that was moved. Its deadlines are over then, and what has come
// meanwhile is unread, in any order: nobody has failed to answer in that time. All that are waited
// for have a moment more, and who had a vote keeps it so long. Unless it was no longer than between
// two polls, those who were replicas may be anything by now, and after a long stop those that were
// selected are asked only if they are again.
func (s *State) awake(before time.Time) {
	late := !s.wake.IsZero() && s.now.Sub(s.wake) > wakesLate || s.now.Sub(before) > 2*PollInterval+wakesLate
	if !late || s.phase == Closed || s.now.Sub(s.awoke) < stopInterval {
		return
	}
	s.awoke = s.now
	until := s.now.Add(afterStop)
	for _, at := range []*time.Time{&s.voters.firstUntil, &s.move.until, &s.repair.until, &s.target.until, &s.next.until} {
		if !at.IsZero() && at.Before(until) {
			*at = until
		}
	}
	s.voters.keepVotes(before, until)
	if missed := s.now.Sub(s.wake); !s.wake.IsZero() && missed > 0 {
		s.move.began = s.move.began.Add(missed) // a fence has kept nothing back meanwhile
	}
	if s.now.Sub(before) > PollInterval {
		s.noReplicas()
	}
	if s.now.Sub(before) > freshFor {
		s.dropNext()
		s.move.chosen, s.move.promoted = nil, false // a fence stands until the sentinels were asked
	}
	s.do(Poll{})
}

// dueAll does all that is due.
func (s *State) dueAll() {
	if s.phase == Closed || s.phase == Forced {
		return
	}
	if s.voters.wait(s.now) {
		s.decide()
	}
	s.dueSilence()
	s.dueMove()
	s.dueRepair()
	if at := s.claim.due; !at.IsZero() && !s.now.Before(at) {
		s.claim.due = time.Time{}
		s.decide()
	}
	if s.primary.alarms && s.now.Sub(s.primary.alarm) >= alarmInterval {
		s.lookIntoAlarm()
	}
	s.dueNext()
	s.dueTarget()
}

// setWake asks for the next Tick, if it is another than before.
func (s *State) setWake() {
	var at time.Time
	for _, t := range s.times() {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if (!s.voters.settled(s.now) || s.phase == Fenced) && s.phase != Closed { // a stop shows by a Tick that is late
		pulse := s.now.Add(pulseInterval)
		if s.now.Before(s.wake) && s.wake.Before(pulse) {
			pulse = s.wake
		}
		if at.IsZero() || pulse.Before(at) {
			at = pulse
		}
	}
	if at.Equal(s.wake) && s.now.Before(at) {
		return
	}
	s.wake = at
	if !at.IsZero() {
		s.do(Wake{at})
	}
}

// times are when something is due.
func (s *State) times() [12]time.Time {
	if s.phase == Closed || s.phase == Forced {
		return [12]time.Time{}
	}
	at := [12]time.Time{s.voters.firstUntil, s.primary.cutAt, s.move.until, s.repair.until, s.claim.due}
	if s.primary.alarms {
		at[5] = s.primary.alarm.Add(alarmInterval)
	}
	at[6], at[7] = s.next.times()
	if stuck := s.next.stuckAt(); s.now.Before(stuck) {
		at[11] = stuck
	}
	if s.target.addr != s.next.addr {
		at[8], at[9] = s.target.times()
	}
	if s.phase == Returning {
		at[10] = s.returnDue()
	}
	return at
}

// force takes the primary away until it is given back. What the sentinels say meanwhile is noted,
// and nothing is done.
func (s *State) force() {
	s.lose(errForced)
	s.stopAsking()
	s.claim = claim{}
	s.primary.cause = errForced
	s.become(Forced)
}

// reset looks for the primary, as after a loss. A failover that has begun while it was away is
// followed, as far as it may still come to something: the primary of before does not return.
func (s *State) reset() {
	if s.phase == Forced {
		s.become(Searching)
		s.primary.cause = ErrStarting
		s.retry()
		s.decide()
		s.reselect(s.move.chosen)
	}
}

// sentinel takes in an event of a sentinel.
func (s *State) sentinel(e Event) {
	switch e := e.(type) {
	case Heard:
		s.hear(e)
	case Unheard:
		s.miss(e)
	case Pushed:
		s.pushed(e)
	}
}

func (s *State) hear(e Heard) {
	v := s.voters.find(e.Sentinel)
	if v == nil || v.overtook(e.Asked) {
		return
	}
	v.judged, v.up = true, true
	if v.id != e.ID {
		s.voters.disown(v)
		v.rename(e.ID)
		v.report = nil
	}
	owner := s.voters.own(v, e.ID)
	if !s.voters.heard {
		s.voters.heard, s.voters.firstUntil = true, s.now.Add(firstWait)
	}
	switch {
	case e.Report == nil:
		v.report = nil
	case owner:
		if !v.fresh(s.now) || e.Missed {
			v.since = s.now
		}
		v.noteLost(e.Report, e.Asked)
		v.report, v.asked, v.gave = e.Report, e.Asked, s.now
		v.notice(e.Report.Epoch, s.primary.epoch)
	}
	s.voters.counted = false
	if e.Report == nil && s.voters.settled(s.now) && len(s.fresh()) == 0 { // else others know better
		s.primary.cause = e.Err
	}
	s.admit(v)
	s.forget()
	s.decide()
	s.missedAll(PollInterval)
}

// miss takes in a failed poll. One that began before this process was stopped has only run out
// of time.
func (s *State) miss(e Unheard) {
	v := s.voters.find(e.Sentinel)
	switch {
	case v == nil || v.overtook(e.Asked):
	case e.Asked.Before(s.awoke):
		s.do(Poll{Sentinel: e.Sentinel})
	default:
		v.judged, v.up, v.report, s.voters.counted = true, false, nil, false
		s.decide()
	}
}

// pushed takes in an event that a sentinel has published. The sentinel is asked in any case.
func (s *State) pushed(e Pushed) {
	v := s.voters.find(e.Sentinel)
	if v == nil {
		return
	}
	s.do(Poll{Sentinel: e.Sentinel})
	if !v.votes() {
		return
	}
	if e.Kind == Aborted {
		v.abortAt = s.now
	}
	if !s.voters.settled(s.now) {
		s.early(e)
		return
	}
	e.Addr = s.meant(v, e.Addr)
	if e.Kind == Switched { // it takes back what it has published before
		s.move.published = slices.DeleteFunc(s.move.published, func(c selection) bool { return c.by == e.Sentinel })
	}
	switch e.Kind {
	case Selected:
		s.selected(s.selectionOf(e))
	case Promoted, Switched:
		switch {
		case s.phase == Provisional && e.Addr == s.primary.addr:
			s.hearPublished(e)
		case e.Kind == Promoted && s.phase == Fenced && s.hasChosen(e): // it comes before that one's answer
			s.move.promotes(s.selectionOf(e))
		case s.phase == Forced || e.Kind != Switched || s.config.Mode == PushOnly || e.Addr == s.primary.addr:
		case s.known(e.Addr) && !s.refuses(e.Addr): // else who lags may announce a failover of before
			s.fence(s.selectionOf(e))
		}
	case Aborted:
		s.unselect(func(c selection) bool { return c.by == e.Sentinel }, fmt.Errorf("sentinel says %s", e.Text))
	}
}

// server takes in an event of a server that is asked.
func (s *State) server(e Event) {
	switch e := e.(type) {
	case Dialled:
		if e.Link != s.target.link && e.Link != s.next.link && e.Link != s.repair.link && s.besides(e.Link) < 0 {
			s.do(End(e))
			return
		}
		s.do(Ask(e))
	case Answered:
		s.answered(e.Link)
		switch e.Link {
		case s.next.link:
			s.nextAnswered(e)
		case s.target.link:
			s.targetAnswered(e)
		case s.repair.link:
			s.repairAnswered(e)
		default:
			if i := s.besides(e.Link); i >= 0 {
				s.lateAnswer(i, e)
			}
		}
	case Failed:
		s.failed(e)
	case Ended:
		if e.Link == s.primary.link && e.Link != 0 {
			s.linkLost(e)
			return
		}
		s.failed(Failed{Link: e.Link, Err: e.Err})
	}
}

// answered forgets that the server of a link did not answer.
func (s *State) answered(link Link) {
	addr := s.next.addr
	if i := s.besides(link); i >= 0 {
		addr = s.aside[i].addr
	} else if link != s.next.link {
		return
	}
	s.vain = slices.DeleteFunc(s.vain, func(v vain) bool { return v.addr == addr && !v.stays })
}

func (s *State) failed(e Failed) {
	switch e.Link {
	case 0:
	case s.next.link:
		if s.next.fails(s.now) {
			s.inVain(s.next.addr)
		}
		s.next.link, s.next.proved = 0, time.Time{}
		if e.Permanent {
			s.move.chosen = slices.DeleteFunc(s.move.chosen, func(c selection) bool { return c.addr == s.next.addr })
			s.giveUp(e.Err)
			return
		}
		if !s.phase.Serves() {
			s.primary.cause = e.Err
		}
		s.again(&s.next, e.Err)
		s.rotate()
	case s.target.link:
		s.target.link = 0
		s.endReturn(e.Err)
	case s.repair.link:
		s.repair.link = 0
		s.lose(fmt.Errorf("%w; a new connection: %w", s.repair.cause, e.Err))
	default:
		s.aside = slices.DeleteFunc(s.aside, func(a asker) bool { return a.link == e.Link })
	}
}

func (s *State) nextAnswered(e Answered) {
	a := &s.next
	if a.proved.IsZero() {
		a.proved = s.now
	}
	switch {
	case !e.Primary:
		s.saidReplica(*a)
		s.again(a, refusal{a.addr, ErrDemoted})
		s.rotate()
	case s.doubts(a):
		if a.epoch == 0 {
			s.move.promoted = true // its announcement is awaited: until then the other must not acknowledge what would be lost
		}
		s.noReplica(a.addr)
		s.again(a, refusal{a.addr, errDoubted})
		s.rotate()
	case a.trigger == BySelection && a.epoch == 0 && s.config.Mode == FenceOnly && !s.calledPrimary(a.addr):
		a.state, a.until = holding, s.now.Add(confirmWithin)
		if s.phase == Fenced {
			s.move.promoted, a.until = true, time.Time{} // the fence's end is its end
		}
	default:
		s.install(a.link, a.addr, a.epoch, a.trigger)
	}
}

// lateAnswer takes in what a server says that was put aside. One that is the primary is asked no
// more in its turn, unless most name another.
func (s *State) lateAnswer(i int, e Answered) {
	asked := s.aside[i]
	addr := asked.addr
	s.aside = slices.Delete(s.aside, i, i+1)
	if !e.Primary {
		s.saidReplica(asked)
	}
	a, ok := s.next, s.next.addr == addr
	if !ok && !s.calledPrimary(s.next.addr) {
		a, ok = s.candidate(addr)
		a.until = later(a.until, s.next.until)
	}
	if !ok || !e.Primary || s.next.state == holding {
		s.do(End{e.Link})
		return
	}
	s.end(&s.next)
	a.link = e.Link
	s.next = a
	s.nextAnswered(e)
}

// dueNext asks the other server, or gives it up.
func (s *State) dueNext() {
	s.dropAside()
	if until := s.next.until; !until.IsZero() && !s.now.Before(until) {
		err := s.next.err
		if err == nil {
			err = fmt.Errorf("%s has not answered within %v", s.next.addr, confirmWithin)
		}
		s.giveUp(err)
	}
	if s.next.stuck(s.now) || s.next.addr != "" && s.next.link == 0 && !s.mayDial(&s.next) {
		s.rotate()
	}
	s.ask(&s.next)
}

func (s *State) targetAnswered(e Answered) {
	if !e.Primary {
		s.saidReplica(s.target)
		s.do(Doubted{Role: true})
		s.endReturn(refusal{s.target.addr, ErrDemoted})
		return
	}
	if s.primary.last == "" && s.calledPrimary(s.target.addr) {
		// It is the first one, and does not return: failovers are followed from there.
		s.install(s.target.link, s.target.addr, s.primary.epoch, ByElection)
		return
	}
	s.target.state, s.target.until = holding, s.now.Add(returnLimit)
	s.become(Returning)
	s.move.returned = s.now
	s.do(Poll{})
	s.judgeReturn()
}

// dueTarget asks the last primary, unless it is asked already.
func (s *State) dueTarget() {
	if s.target.state == holding && !s.now.Before(s.target.until) {
		s.endReturn(errors.New("the sentinels have not agreed to its return in time"))
	}
	s.judgeReturn()
	if s.target.addr != s.next.addr {
		s.ask(&s.target)
	}
}
