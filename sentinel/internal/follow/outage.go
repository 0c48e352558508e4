package follow

import (
	"fmt"
	"time"
)

// heartbeat takes in an event of the heartbeat.
func (s *State) heartbeat(e Event) {
	switch e := e.(type) {
	case Beat:
		if e.Term == s.primary.term {
			s.primary.beat = e
			s.judgeRepair()
			s.resume()
		}
	case Silent:
		if e.Term == s.primary.term {
			s.silent(e)
		}
	case Died:
		if e.Term == s.primary.term {
			s.lose(e.Err)
		}
	case Alarm:
		if e.Term == s.primary.term && s.phase.Serves() {
			s.primary.alarms = true
		}
	}
}

// lose notes that there is no primary.
func (s *State) lose(cause error) {
	if !s.phase.Serves() {
		s.cut(cause)
		return
	}
	s.primary.link = 0
	s.down(Down{Cause: cause}, Searching)
}

// down has commands refused, and the primary asked until it is one again.
func (s *State) down(d Down, to Phase) {
	s.endFence()
	s.endRepair()
	s.primary.since, s.primary.cause, s.move.hindered = s.now, d.Cause, time.Time{}
	s.do(d)
	s.become(to)
	s.retry()
	s.do(Poll{})
}

// cut ends the commands of a primary that has stalled.
func (s *State) cut(cause error) {
	if s.primary.link == 0 || s.phase.Serves() {
		return
	}
	s.primary.link, s.primary.cutAt = 0, time.Time{}
	s.do(Cut{cause})
	if s.phase == Stalled {
		s.become(Searching)
	}
}

// silent takes in that the primary is silent. While a failover is under way nobody waits for it.
func (s *State) silent(e Silent) {
	if !s.phase.Serves() {
		return
	}
	cause := fmt.Errorf("%w: %s sent nothing for %v", ErrHung, s.primary.addr, e.For.Round(time.Millisecond))
	rest := s.stallTimeout() - e.For
	if s.phase != Up || s.next.addr != "" || s.repair.link != 0 || rest <= 0 || s.failoverBegins() {
		s.lose(cause)
		return
	}
	s.primary.cutAt = s.now.Add(rest)
	s.down(Down{Cause: cause, Keep: true}, Stalled)
}

// dueSilence ends the commands of a primary that has been silent for too long, or that is replaced.
func (s *State) dueSilence() {
	switch {
	case s.primary.cutAt.IsZero():
	case !s.now.Before(s.primary.cutAt):
		s.cut(fmt.Errorf("%w: for %v", ErrHung, s.stallTimeout()))
	case s.failoverBegins():
		s.cut(fmt.Errorf("%w, and a failover begins", ErrHung))
	}
}

// resume lets commands pass again to a primary that has only stalled.
func (s *State) resume() {
	if s.primary.cutAt.IsZero() || s.phase != Stalled && s.phase != Returning {
		return
	}
	s.primary.cutAt = time.Time{}
	s.primary.since = s.now
	s.stopAsking()
	s.become(Up)
	s.do(Resume{})
}

// lookIntoAlarm asks the primary and the sentinels, so often at most.
func (s *State) lookIntoAlarm() {
	s.primary.alarms, s.primary.alarm = false, s.now
	if s.phase.Serves() {
		s.do(Question{})
		s.do(Poll{})
	}
}

// endReturn refuses the last primary, which is asked again later.
func (s *State) endReturn(why error) {
	a := &s.target
	if a.link != 0 {
		s.do(End{a.link})
		a.link = 0
	}
	s.primary.cause = why
	a.until = time.Time{}
	s.again(a, why)
	a.interval = min(a.interval*8/5, lastRetry)
	s.leaveReturn()
}

// leaveReturn ends the phase Returning: what has stalled may yet awake.
func (s *State) leaveReturn() {
	switch {
	case s.phase != Returning:
	case s.primary.link != 0:
		s.become(Stalled)
	default:
		s.become(Searching)
	}
}

// stopAsking ends all questions.
func (s *State) stopAsking() {
	s.end(&s.target)
	s.dropNext()
	s.endRepair()
}

// endFence ends a fence, if there is one. What was asked, or held, for as long as it stood is given
// up a while later.
func (s *State) endFence() {
	if s.phase != Fenced {
		return
	}
	s.move.until = time.Time{}
	if s.next.state == holding || s.next.addr != "" && s.next.until.IsZero() {
		s.next.until = s.now.Add(confirmWithin)
	}
}

// linkLost takes in the end of the commands' connection.
func (s *State) linkLost(e Ended) {
	s.primary.link = 0
	switch {
	case s.phase == Stalled || s.phase == Returning:
		s.primary.cutAt = time.Time{}
		s.do(Cut{e.Err})
		if s.phase == Stalled {
			s.become(Searching)
		}
	case s.now.Sub(s.repair.doneAt) < repairPause: // a connection lost so often goes the way of a primary that is down
		s.lose(e.Err)
	default:
		s.repair = repair{link: s.newLink(), lostAt: e.At, until: s.now.Add(s.config.RepairTimeout), cause: e.Err, doneAt: s.repair.doneAt}
		s.do(Hold{})
		s.do(Question{})
		s.do(Dial{s.repair.link, s.primary.addr})
	}
}

func (s *State) repairAnswered(e Answered) {
	if !e.Primary {
		s.lose(refusal{s.primary.addr, ErrDemoted})
		return
	}
	s.repair.verified = true
	s.judgeRepair()
}

// judgeRepair gives commands the new connection. Whether the server is the same as before is not
// its own word alone: the heartbeat, which has a connection of its own, must have gone on unbroken.
func (s *State) judgeRepair() {
	r := &s.repair
	switch b := s.primary.beat; {
	case r.until.IsZero():
	case !b.Connected.Before(r.lostAt):
		s.lose(fmt.Errorf("%w; the heartbeat's connection was lost as well", r.cause))
	case r.verified && !b.Asked.Before(r.lostAt):
		s.primary.link = r.link
		s.do(Rejoin{Link: r.link, Cause: r.cause})
		s.repair = repair{doneAt: s.now}
	}
}

func (s *State) dueRepair() {
	if !s.repair.until.IsZero() && !s.now.Before(s.repair.until) {
		s.lose(fmt.Errorf("%w; a new connection is not there in time", s.repair.cause))
	}
}

// endRepair ends the repair that is under way.
func (s *State) endRepair() {
	if s.repair.link != 0 {
		s.do(End{s.repair.link})
	}
	s.repair = repair{doneAt: s.repair.doneAt}
}
