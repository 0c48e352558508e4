package follow

import (
	"slices"
	"time"
)

// Mode says when a failover is followed.
type Mode int

// The modes.
const (
	Eager     Mode = iota // move as soon as the selected replica says that it is the primary
	FenceOnly             // hold writes from then on, move once it is announced
	PushOnly              // move once it is announced
)

// Config is a State's choices. All are to be set but Allow.
type Config struct {
	Mode  Mode
	Seeds []string // the sentinels that the user gave
	Allow []string // the addresses that may be used; none: all
	// StallTimeout is how long a silent primary keeps the commands that are under way; 0: as long
	// as most sentinels take to call it down, at least a second.
	StallTimeout time.Duration
	// RepairTimeout bounds the replacement of a connection that was lost.
	RepairTimeout time.Duration
	// ResetTimeout is how long most sentinels have to agree on a lower epoch, without a proof that
	// theirs have begun anew.
	ResetTimeout time.Duration
}

// The times that are part of the machine.
const (
	// PollInterval is how often sentinels are asked, in the absence of a Poll.
	PollInterval = time.Second
	freshFor     = 3 * PollInterval // how long a report counts
	firstWait    = time.Second      // how long the first decision waits for sentinels that have not been heard yet
	forgetAfter  = time.Minute      // how long a sentinel that was discovered is watched although nobody names it any more

	selectedInterval  = 4 * time.Millisecond // between two questions to a replica that was selected
	announcedInterval = 20 * time.Millisecond
	stuckAfter        = 100 * time.Millisecond // when another server than one that does not answer is asked
	firstRetry        = 10 * time.Millisecond  // between two questions to the last primary; each time is 1.6 times the one before
	lastRetry         = 250 * time.Millisecond
	returnLimit       = PollInterval          // for the sentinels to agree on a return
	resumeFirst       = 50 * time.Millisecond // for a primary that has stalled to answer what it was asked before

	refuseFor     = 15 * time.Second // how long the server that was left is not gone back to, unless at a higher epoch
	fenceLimit    = time.Second      // bounds a fence whose replica does not become the primary
	fencePeriod   = 15 * time.Second // in which fences that came to nothing may take fenceLimit together
	confirmWithin = 3 * time.Second  // for the sentinels to announce what was moved to
	heardWithin   = 6 * time.Second  // for most sentinels to hear of what one of them has announced
	leastStall    = time.Second      // of StallTimeout, if it is the sentinels'
	mostStall     = 30 * time.Second
	wakesLate     = 250 * time.Millisecond // a Wake that is so late says that this process was stopped
	afterStop     = 500 * time.Millisecond // in which nobody is given up who could not be heard meanwhile
	stopInterval  = 10 * time.Second       // between two that count: what is always late gives up in the end
	alarmInterval = 100 * time.Millisecond // between two alarms that are looked into
	repairPause   = 100 * time.Millisecond // for which a connection must have lasted for its loss to be repaired
)

// State is what is known of one name. Its Step is not for concurrent use.
type State struct {
	config   Config
	phase    Phase
	now      time.Time
	out      []Effect
	voters   electorate
	primary  primary
	target   asker // of the last primary, while there is none
	next     asker // of another server
	move     move
	repair   repair
	left     []leaver
	standbys []string // servers that have been replicas since they were the primary
	claim    claim
	link     Link // the last number given
	wake     time.Time
	awoke    time.Time // when this process went on that had been stopped
}

// primary is the server that commands go to, or the one to try while there is none.
type primary struct {
	addr  string
	id    string // its run id, as most sentinels tell it; empty if they do not
	last  string // that served last
	epoch int64
	// told is the latest epoch at which a sentinel has announced it: one that has gone wrong may
	// have invented that.
	told int64
	// hearsay: a sentinel has published its promotion, and no report names it yet. That sentinel
	// may be no more, and the others know nothing of it.
	hearsay bool
	link    Link // of the commands; 0 if none live
	term    Link // of the Swap
	since   time.Time
	cause   error // of the last try to find it that failed
	cutAt   time.Time
	beat    Beat // the last
	alarm   time.Time
	alarms  bool // one more is to be looked into
}

// New returns a State that searches, and what is to be done first.
func New(now time.Time, c Config) (*State, []Effect) {
	s := &State{config: c, now: now}
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
	s.awake(now)
	s.now, s.voters.counted = now, false
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
	s.due()
	s.setWake()
	return s.take()
}

// awake notes that this process was stopped, by a signal, in a container that was frozen or in a
// virtual machine that was moved. Its deadlines are over then, and what has come meanwhile is
// unread, in any order: nobody has failed to answer in that time. All that are waited for have a
// moment more, and who had a vote keeps it so long.
func (s *State) awake(now time.Time) {
	late := !s.wake.IsZero() && now.Sub(s.wake) > wakesLate || now.Sub(s.now) > forgetAfter/2
	if !late || s.phase == Closed || now.Sub(s.awoke) < stopInterval {
		return
	}
	s.awoke = now
	until := now.Add(afterStop)
	for _, at := range []*time.Time{&s.voters.firstUntil, &s.move.until, &s.repair.until, &s.target.until, &s.next.until} {
		if !at.IsZero() && at.Before(until) {
			*at = until
		}
	}
	s.voters.keepVotes(s.now, until)
	s.do(Poll{})
}

// drop ends what comes too late.
func (s *State) drop(e Event) {
	if d, ok := e.(Dialled); ok {
		s.do(End(d))
	}
}

func (s *State) do(e Effect) { s.out = append(s.out, e) }

func (s *State) take() []Effect {
	out := s.out
	s.out = nil
	return out
}

// become changes the phase. A transition that is not in the table is a defect of this package, and
// told: a process does not end for it.
func (s *State) become(to Phase) {
	if s.phase == to || s.phase == Closed {
		return
	}
	if !allowed(s.phase, to) {
		s.do(Strayed{From: s.phase, To: to})
	}
	s.phase = to
}

// force takes the primary away until it is given back.
func (s *State) force() {
	s.lose(errForced)
	s.stopAsking()
	s.claim = claim{}
	s.become(Forced)
}

func (s *State) reset() {
	if s.phase == Forced {
		s.become(Searching)
		s.primary.cause = ErrStarting
		s.retry()
		s.decide()
	}
}

// stopAsking ends all questions.
func (s *State) stopAsking() {
	s.end(&s.target)
	s.dropNext()
	s.endRepair()
}

// due does what the time asks for.
func (s *State) due() {
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
	if s.phase == Returning && s.primary.link != 0 && s.now.Before(s.move.returned.Add(resumeFirst)) {
		at[10] = s.move.returned.Add(resumeFirst)
	}
	return at
}

// View is a snapshot for whoever looks at it.
type View struct {
	Phase    Phase
	Addr     string // of the primary, or of the one to try
	Last     string // that served last
	Epoch    int64
	Since    time.Time // when it began to serve, or when there was none any more
	Cause    error     // of the last try to find one that failed
	Settled  bool      // enough has been heard for a first decision
	Reports  int       // that count
	Owners   int       // run ids of sentinels that are remembered
	Replicas []Replica // that most sentinels name, and that may be used
}

// View returns a snapshot.
func (s *State) View() View {
	reports := s.fresh()
	return View{
		Phase: s.phase, Addr: s.primary.addr, Last: s.primary.last, Epoch: s.primary.epoch, Since: s.primary.since, Cause: s.primary.cause,
		Settled: s.voters.settled(s.now), Reports: len(reports), Owners: len(s.voters.owners), Replicas: s.replicas(reports),
	}
}

// replicas are those that most who vote name.
func (s *State) replicas(reports []*voter) []Replica {
	var all []Replica
	for _, v := range reports {
		for _, r := range v.report.Replicas {
			same := func(x Replica) bool { return x.Addr == r.Addr }
			if r.Addr == s.primary.addr || !s.allowed(r.Addr) || slices.ContainsFunc(all, same) || !s.most(func(o *voter) bool { return o.lists(r.Addr) }) {
				continue
			}
			r.Usable = s.most(func(o *voter) bool { return o.sees(r.Addr, func(x *Replica) bool { return x.Usable }) })
			all = append(all, r)
		}
	}
	return all
}

// Phase is the present phase.
func (s *State) Phase() Phase { return s.phase }
