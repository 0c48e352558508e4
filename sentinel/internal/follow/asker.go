package follow

import (
	"errors"
	"fmt"
	"slices"
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
	return a.at.Add(stuckAfter)
}

func (a *asker) stuck(now time.Time) bool {
	at := a.stuckAt()
	return !at.IsZero() && !now.Before(at)
}

// fails reports whether the loss of its link tells of a server that does not answer. As a replica
// is promoted its sentinel has it end all connections.
func (a *asker) fails(now time.Time) bool {
	return a.proved.IsZero() || now.Sub(a.proved) < provedFor
}

// mayDial reports whether a server may be sent credentials: most sentinels list it or, while they
// are not heard, most did not leave out the last primary when they were. A server that they list no
// more may be somebody else's by now. One that does not answer rests, but for the last primary.
func (s *State) mayDial(a *asker) bool {
	if a == &s.next {
		return !s.rests(a.addr) && s.known(a.addr)
	}
	without := 0
	for _, v := range s.voters.all {
		if v.votes() && v.report != nil && !s.names(v, a.addr) {
			without++
		}
	}
	return !s.majority(without)
}

// ask asks if it is time.
func (s *State) ask(a *asker) {
	if a.addr == "" || a.state != waiting || s.now.Before(a.at) {
		return
	}
	if a.link == 0 && !s.mayDial(a) {
		a.at = s.now.Add(a.interval)
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

// again has the asker wait for its next question.
func (s *State) again(a *asker, err error) {
	a.state, a.err = waiting, err
	a.at = s.now.Add(a.interval)
}

// maxVain is how many servers are remembered that were dialled in vain.
const maxVain = 64

// inVain notes that a server does not answer. It is dialled less and less often.
func (s *State) inVain(addr string) { s.rest(vain{addr: addr}) }

// callOff ends the questions to a server whose selection was aborted. A sentinel that has gone
// wrong may select and abort without end.
func (s *State) callOff(a *asker) {
	if a.link != 0 {
		s.rest(vain{addr: a.addr, stays: true})
	}
	s.end(a)
}

// rest has a server not be dialled for a while, which is longer each time.
func (s *State) rest(v vain) {
	v.pause = firstRetry
	if i := slices.IndexFunc(s.vain, func(o vain) bool { return o.addr == v.addr }); i >= 0 {
		if s.now.Sub(s.vain[i].until) < confirmWithin {
			v.pause = min(s.vain[i].pause*8/5, lastRetry)
			v.stays = v.stays || s.vain[i].stays
		}
		s.vain = slices.Delete(s.vain, i, i+1)
	} else if len(s.vain) == maxVain {
		s.vain = slices.Delete(s.vain, 0, 1)
	}
	v.until = s.now.Add(v.pause)
	s.vain = append(s.vain, v)
}

// rests reports whether a server was dialled in vain, and is not to be dialled yet.
func (s *State) rests(addr string) bool {
	return slices.ContainsFunc(s.vain, func(v vain) bool { return v.addr == addr && s.now.Before(v.until) })
}

// end ends the questions of one asker.
func (s *State) end(a *asker) {
	if a.link != 0 {
		s.do(End{a.link})
	}
	*a = asker{}
}

// pursue asks a server until it is the primary, in place of the one that is asked. What was put
// aside is waited for still: it may be that one's answer.
func (s *State) pursue(a asker) {
	if s.next.addr == a.addr {
		s.next.epoch = max(s.next.epoch, a.epoch)
		if s.next.interval <= a.interval {
			return
		}
		a.epoch = s.next.epoch
	}
	a.at, a.until = s.now, s.now.Add(confirmWithin)
	s.replace(a)
}

// replace asks a server in place of the one that is asked. That one keeps its connection, and its
// question, for when it is asked again. One that does not answer has one question besides at most.
func (s *State) replace(a asker) {
	besides := func(o asker) bool { return o.addr == s.next.addr && o.state == dialling }
	if o := s.next; o.link != 0 && (o.state == waiting || o.state == dialling && !slices.ContainsFunc(s.aside, besides)) {
		s.aside = append(s.aside, o)
		s.next.link = 0
	}
	s.end(&s.next)
	if i := slices.IndexFunc(s.aside, func(o asker) bool { return o.addr == a.addr && !o.stuck(s.now) }); i >= 0 {
		o := s.aside[i]
		s.aside = slices.Delete(s.aside, i, i+1)
		a.link, a.state, a.proved = o.link, o.state, o.proved
		if a.state == dialling {
			a.at = o.at
		}
	}
	s.next = a
}

// dropNext ends the questions to all others than the last primary.
func (s *State) dropNext() {
	s.end(&s.next)
	for i := range s.aside {
		s.end(&s.aside[i])
	}
	s.aside = nil
}

// release ends the questions to all servers, but keeps a link.
func (s *State) release(link Link) {
	for _, a := range []*asker{&s.target, &s.next} {
		if a.link == link {
			a.link = 0
		}
		s.end(a)
	}
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

// rotate asks the next of those that may be about to be the primary, if there are several: a
// sentinel that has gone wrong may have selected or announced one of them.
func (s *State) rotate() {
	if s.next.link != 0 && s.calledPrimary(s.next.addr) && !errors.Is(s.next.err, errDoubted) && !s.next.stuck(s.now) {
		return
	}
	all := s.candidates()
	at := slices.IndexFunc(all, func(a asker) bool { return a.addr == s.next.addr })
	for i := range all {
		a := all[(at+1+i)%len(all)]
		if a.addr != s.next.addr && !s.rests(a.addr) {
			a.at = s.now.Add(selectedInterval)
			s.turnTo(a)
			return
		}
	}
}

// turnTo asks a server in its turn. The one before, if it does not answer, may be far away: the
// first question to it is waited for.
func (s *State) turnTo(a asker) {
	a.until = later(a.until, s.next.until)
	if s.next.stuck(s.now) {
		s.inVain(s.next.addr)
	}
	s.replace(a)
}

// besides is where the asker with a link is among those that were put aside; -1: it is not.
func (s *State) besides(link Link) int {
	return slices.IndexFunc(s.aside, func(a asker) bool { return a.link == link })
}

// dropAside ends questions put aside that are no longer to be asked.
func (s *State) dropAside() {
	s.aside = slices.DeleteFunc(s.aside, func(a asker) bool {
		_, lasts := s.candidate(a.addr)
		if lasts = lasts || s.next.addr == a.addr; !lasts {
			s.callOff(&a)
		}
		return !lasts
	})
}

// candidates are the servers that were selected, and those that later reports name.
func (s *State) candidates() []asker {
	var all []asker
	for _, c := range s.move.chosen {
		if c.addr != s.primary.addr && s.known(c.addr) && !slices.ContainsFunc(all, func(a asker) bool { return a.addr == c.addr }) {
			a := s.toSelected(c.addr)
			a.until = c.at.Add(confirmWithin)
			all = append(all, a)
		}
	}
	vain := slices.DeleteFunc(s.ahead(true), func(t tally) bool { return !s.calledPrimary(t.addr) })
	for _, t := range append(s.ahead(false), vain...) { // a server that most name is asked again
		if s.mayFollow(t.addr) {
			all = slices.DeleteFunc(all, func(a asker) bool { return a.addr == t.addr })
			all = append(all, toAnnounced(saying{t.addr, t.epoch}))
		}
	}
	return all
}

// candidate is the asker of one of them.
func (s *State) candidate(addr string) (asker, bool) {
	all := s.candidates()
	if i := slices.IndexFunc(all, func(a asker) bool { return a.addr == addr }); i >= 0 {
		return all[i], true
	}
	return asker{}, false
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (s *State) toSelected(addr string) asker {
	return asker{addr: addr, interval: selectedInterval, trigger: BySelection}
}

func toAnnounced(said saying) asker {
	return asker{addr: said.addr, epoch: said.epoch, interval: announcedInterval, trigger: ByAnnouncement}
}

// doubts reports whether the word of a server that it is the primary means nothing yet, or any
// more. One that was selected, and is not known to replicate, most must name at an epoch as late as
// any at which the present primary was announced: those who lag name one of before, and so does who
// leads a failover.
func (s *State) doubts(a *asker) bool {
	switch bySelection := a.trigger == BySelection; {
	case bySelection && a.epoch == 0 && s.stoodBy(a.addr):
		return false
	case bySelection && !s.stoodBy(a.addr) && !s.most(func(v *voter) bool {
		return !v.asked.Before(s.awoke) && s.named(v) == a.addr && !v.report.Midway && v.report.Epoch >= s.primary.told
	}):
		return true
	}
	return !s.mayFollow(a.addr)
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
	s.move.chosen = slices.DeleteFunc(s.move.chosen, func(c selection) bool {
		return c.addr == a.addr && s.now.Sub(c.at) >= confirmWithin // later ones have their own time
	})
	if others := s.candidates(); len(others) > 0 && (others[0].addr != a.addr || others[0].trigger == BySelection) {
		s.pursue(others[0])
	}
}

// holds reports whether a server is held that has said that it is the primary. Long after that it
// is asked anew: its failover may have been undone.
func (s *State) holds(addr string) bool {
	a := &s.next
	if a.addr != addr || a.state != holding {
		return false
	}
	if s.now.Sub(a.at) <= confirmWithin {
		return true
	}
	a.state, a.at = waiting, s.now
	if !a.until.IsZero() {
		a.until = later(a.until, s.now.Add(confirmWithin))
	}
	return false
}
