package follow

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

var (
	// ErrHung is why a primary is left that is silent.
	ErrHung = observe.NewCause("timeout", "it hangs")
	// errOvertaken ends the calls of one that has stalled.
	errOvertaken = fmt.Errorf("%w, and a failover begins", ErrHung)
	// ErrDemoted is why one is left that says it is a replica.
	ErrDemoted = errors.New("it is a replica now")
	// ErrStarting is why there is none before the first was looked for.
	ErrStarting = errors.New("not found yet")

	errDoubted = errors.New("it was left a moment ago, and has not been a replica since")
	errForced  = errors.New("it was forced down")
)

// refusal is why a server is not followed.
type refusal struct {
	addr string
	err  error
}

func (r refusal) Error() string { return r.addr + ": " + r.err.Error() }
func (r refusal) Unwrap() error { return r.err }

// asker asks one server for its role again and again.
type asker struct {
	addr     string // empty: nobody is asked
	state    asking
	link     Link      // 0: none
	at       time.Time // when to ask again, if waiting
	until    time.Time // when to give up; zero: never
	interval time.Duration
	patience time.Duration // how long an answer is waited for while there are others to ask; 0: stuckAfter
	epoch    int64         // at which the sentinels named it; 0 if they have not yet
	trigger  Trigger
	err      error
}

type asking int

const (
	waiting  asking = iota // for the next question
	dialling               // or asked: for an answer
	holding                // it is the primary, and the sentinels are waited for
)

// times are when something is due.
func (a *asker) times() (ask, until time.Time) {
	if a.addr == "" {
		return ask, until
	}
	if a.state == waiting {
		ask = a.at
	}
	return ask, a.until
}

// stuckAt is when an answer will have been waited for in vain for a while; zero: none is.
func (a *asker) stuckAt() time.Time {
	if a.addr == "" || a.state != dialling {
		return time.Time{}
	}
	return a.at.Add(max(a.patience, stuckAfter))
}

func (a *asker) stuck(now time.Time) bool {
	at := a.stuckAt()
	return !at.IsZero() && !now.Before(at)
}

// ask asks if it is time.
func (s *State) ask(a *asker) {
	if a.addr == "" || a.state != waiting || s.now.Before(a.at) {
		return
	}
	a.state = dialling
	if a.link != 0 {
		s.do(Ask{a.link})
		return
	}
	a.link = s.newLink()
	s.do(Dial{a.link, a.addr})
}

func (s *State) newLink() Link {
	s.link++
	return s.link
}

// end ends the questions of one asker.
func (s *State) end(a *asker) {
	if a.link != 0 {
		s.do(End{a.link})
	}
	*a = asker{}
}

// again has the asker wait for its next question.
func (s *State) again(a *asker, err error) {
	a.state, a.err = waiting, err
	a.at = s.now.Add(a.interval)
}

// server takes in what comes from a server that is asked.
func (s *State) server(e Event) {
	switch e := e.(type) {
	case Dialled:
		if e.Link != s.target.link && e.Link != s.next.link && e.Link != s.repair.link {
			s.do(End(e))
			return
		}
		s.do(Ask(e))
	case Answered:
		switch e.Link {
		case s.next.link:
			s.nextAnswered(e)
		case s.target.link:
			s.targetAnswered(e)
		case s.repair.link:
			s.repairAnswered(e)
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

func (s *State) failed(e Failed) {
	switch e.Link {
	case 0:
	case s.next.link:
		s.next.link = 0
		if e.Permanent {
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
	}
}

// pursue asks a server until it is the primary, in place of the one that is asked.
func (s *State) pursue(a asker) {
	if s.next.addr == a.addr {
		s.next.epoch = max(s.next.epoch, a.epoch)
		if s.next.interval <= a.interval {
			return
		}
		a.epoch = s.next.epoch
	}
	s.dropNext()
	a.at, a.until = s.now, s.now.Add(confirmWithin)
	s.next = a
}

func (s *State) dropNext() { s.end(&s.next) }

// dueNext asks the other server, or gives it up.
func (s *State) dueNext() {
	if until := s.next.until; !until.IsZero() && !s.now.Before(until) {
		err := s.next.err
		if err == nil {
			err = fmt.Errorf("%s has not answered within %v", s.next.addr, confirmWithin)
		}
		s.giveUp(err)
	}
	if s.next.stuck(s.now) {
		s.rotate()
	}
	s.ask(&s.next)
}

func (s *State) nextAnswered(e Answered) {
	a := &s.next
	switch {
	case !e.Primary:
		s.wasReplica(a.addr)
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

// doubts reports whether the word of a server that it is the primary means nothing yet, or any
// more.
func (s *State) doubts(a *asker) bool {
	selected := a.trigger == BySelection && a.epoch == 0 && s.stoodBy(a.addr)
	return !selected && !s.mayFollow(a.addr)
}

// giveUp ends the questions to the other server: it has not become the primary.
func (s *State) giveUp(cause error) {
	a := s.next
	s.primary.cause = cause
	for _, v := range s.fresh() {
		if s.named(v) == a.addr && v.report.Epoch == a.epoch {
			v.refuted = v.says()
		}
	}
	s.do(Doubted{Role: true})
	s.do(Mismatch{Candidate: a.addr, Epoch: a.epoch, Cause: cause})
	s.dropNext()
}

// retry asks the last primary, or whom the sentinels name, until there is a primary.
func (s *State) retry() {
	if s.primary.addr == "" {
		return
	}
	s.end(&s.target)
	s.target = asker{addr: s.primary.addr, interval: firstRetry, trigger: ByReturn, at: s.now.Add(firstRetry)}
}

// dueTarget asks the last primary, unless it is asked already.
func (s *State) dueTarget() {
	if s.target.state == holding && !s.now.Before(s.target.until) {
		s.endReturn(errors.New("the sentinels have not agreed to its return in time"))
	}
	if s.primary.link != 0 {
		s.judgeReturn()
	}
	if s.target.addr != s.next.addr {
		s.ask(&s.target)
	}
}

func (s *State) targetAnswered(e Answered) {
	if !e.Primary {
		s.wasReplica(s.target.addr)
		s.do(Doubted{Role: true})
		s.endReturn(refusal{s.target.addr, ErrDemoted})
		return
	}
	s.target.state, s.target.until = holding, s.now.Add(returnLimit)
	s.become(Returning)
	s.move.returned = s.now
	s.do(Poll{})
	s.judgeReturn()
}
