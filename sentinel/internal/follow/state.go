package follow

import "time"

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

	// replacedAfter is for how long nobody has named, nor heard, a sentinel that was replaced. One
	// that was reset finds the others again within some seconds.
	replacedAfter = 6 * PollInterval

	selectedInterval  = 4 * time.Millisecond // between two questions to a replica that was selected
	announcedInterval = 20 * time.Millisecond
	stuckAfter        = 100 * time.Millisecond // when another server than one that does not answer is asked, too
	firstRetry        = 10 * time.Millisecond  // between two questions to the last primary; each time is 1.6 times the one before
	lastRetry         = 250 * time.Millisecond // so it is for other servers that do not answer
	provedFor         = 25 * time.Millisecond  // for which a connection must have answered for its loss to be no dial in vain
	returnLimit       = PollInterval           // for the sentinels to agree on a return
	owedFor           = 100 * time.Millisecond // for the sentinels that were heard of late to answer on a return
	resumeFirst       = 50 * time.Millisecond  // for a primary that has stalled to answer what it was asked before

	refuseFor       = 15 * time.Second // how long the server that was left is not gone back to, unless at a higher epoch
	fenceLimit      = time.Second      // bounds a fence whose replica does not become the primary
	fencePeriod     = 15 * time.Second // in which fences that came to nothing may take fenceLimit together
	confirmWithin   = 3 * time.Second  // for the sentinels to announce the new primary
	heardWithin     = 6 * time.Second  // for most sentinels to hear of what one of them has announced
	leastStall      = time.Second      // of StallTimeout, if it is the sentinels'
	mostStall       = 30 * time.Second
	wakesLate       = 250 * time.Millisecond // a Wake that is so late says that this process was stopped
	pulseInterval   = 50 * time.Millisecond  // between two Ticks at most, before the first decision and while a fence stands
	afterStop       = 500 * time.Millisecond // in which nobody is given up who could not be heard meanwhile
	disconnectedFor = 3 * PollInterval / 2   // at most, for a replica that has ended its connections as it is promoted
	stopInterval    = 10 * time.Second       // between two that count: a server that is always late is given up in the end
	alarmInterval   = 100 * time.Millisecond // between two alarms that are looked into
	repairPause     = 100 * time.Millisecond // for which a connection must have lasted for its loss to be repaired
)

// State is the knowledge of one name. Its Step is not for concurrent use.
type State struct {
	clock
	past

	config  Config
	phase   Phase
	out     []Effect
	voters  electorate
	primary primary
	target  asker   // of the last primary, while there is none
	next    asker   // of another server
	aside   []asker // of those that do not answer, or that it is not the turn of
	move    move
	repair  repair
	claim   claim
	link    Link // the last number given
}

// past is the knowledge of servers from before.
type past struct {
	left     []leaver
	standbys standbys
	vain     []vain
}

// vain is a server that did not answer when it was dialled last, or whose selection was aborted.
type vain struct {
	addr  string
	until time.Time // when it may be dialled again
	pause time.Duration
	stays bool // that it answers says nothing
}

// clock is a State's knowledge of the time.
type clock struct {
	now   time.Time
	wake  time.Time // when the next Tick is due; zero: none is
	awoke time.Time // when this process went on that had been stopped
}

// primary is the server that commands go to, or the one to try while there is none.
type primary struct {
	addr  string
	id    string // its run id, as most sentinels tell it; empty if they do not
	last  string // that served last
	epoch int64
	owned bool // epoch is its own: most have named it at that; else it is that of the one before
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

// asker asks one server for its role again and again.
type asker struct {
	addr     string // empty: nobody is asked
	state    asking
	link     Link      // 0: none
	at       time.Time // when to ask again, if waiting
	until    time.Time // when to give up; zero: never
	interval time.Duration
	epoch    int64 // at which the sentinels named it; 0 if they have not yet
	trigger  Trigger
	err      error
	proved   time.Time // when it first answered on the link; zero: it has not
}

type asking int

const (
	waiting  asking = iota // for the next question
	dialling               // or asked: for an answer
	holding                // it is the primary, and the sentinels are waited for
)

// move is a failover that is under way: in phase Fenced until the replica is the primary, in phase
// Provisional, or after the loss of such a primary, until it is announced.
type move struct {
	chosen    []selection
	unsettled string      // from of a move that was taken back while too few were heard to go elsewhere
	from      string      // the primary before; empty unless the move was made, and is not announced yet
	back      bool        // it leads to one that was left before: who lags behind names that, too
	began     time.Time   // when writes began to wait, later by what the process was stopped for since; or the move was made
	until     time.Time   // when the wait ends; zero: nothing is waited for
	promoted  bool        // the replica says that it is the primary: not one sentinel's word any more
	extended  bool        // and so the fence stands for longer
	wasted    []fenced    // fences of late that came to nothing
	published []selection // those that sentinels have published as announced since the move was made
	returned  time.Time   // since when the last primary answers again, in phase Returning
	hindered  time.Time   // since when selections have kept it from returning; zero: they have not
}

// fenced is when a fence ended that came to nothing, and how long it took.
type fenced struct {
	at   time.Time
	took time.Duration
}

// selection is a replica that a sentinel has chosen to promote. While there are several, each
// replica is asked in turn. Those that come after the one that is followed may be of the next
// failover: they are followed when this one is over.
type selection struct {
	by, addr  string
	at        time.Time // when it was heard
	guessed   bool      // it was not: it is one of those that may have been chosen
	announced bool      // the sentinel has published that it is the primary
	kept      bool      // nothing was done about it: too few listed the replica
}

// repair replaces the connection of a primary that goes on without it: commands wait for it, and
// nobody else notices. A server closes connections that are idle (its option timeout), or that take
// too much memory; a flow may be lost between.
type repair struct {
	link     Link // of the new connection
	lostAt   time.Time
	until    time.Time // zero: nothing is repaired
	cause    error
	verified bool      // the server says on it that it is the primary
	doneAt   time.Time // when one was repaired last
}

// maxStandbys is how many servers that have been replicas are remembered, maxLeavers how many that
// were left.
const (
	maxStandbys = 64
	maxLeavers  = 16
)

// standbys are the servers that have been replicas since they were the primary.
type standbys struct {
	all   []standby
	since time.Time // earlier answers do not count: a server may have been promoted meanwhile
	led   time.Time // when a sentinel led a failover last
}

// standby is a server that has been a replica since it was the primary.
type standby struct {
	addr, id string   // the id is empty until most sentinels tell it
	namedBy  []string // the sentinels that have called it the primary since
}

// leaver is a server that was left.
type leaver struct {
	addr  string
	until time.Time // it is not gone back to, unless at a later epoch
	epoch int64
	at    time.Time // when
}

// tally is how many reports name an address as the primary's, and the earliest epoch at which they
// do: the latest may be invented.
type tally struct {
	addr  string
	n     int
	epoch int64
	told  bool // there is an epoch
}

// claim is what most sentinels say at a lower config-epoch than that of the primary that is known.
// A single sentinel that does so was away. If most of them do, the epochs have begun anew: they
// were installed again, or the name was removed and monitored again.
type claim struct {
	tally
	since time.Time
	due   time.Time // when it is to be judged again
}

// voter is a sentinel.
type voter struct {
	addr    string
	id      string    // its run id; its address until that is known
	seed    bool      // the user gave it
	member  bool      // most who vote name it
	up      bool      // its last poll succeeded
	judged  bool      // it has been polled once at least
	gave    time.Time // when it gave its last report
	since   time.Time // since when it has given them, and its events, without a break
	namedAt time.Time
	asked   time.Time // when the question was sent that report answers
	report  *Report   // nil: it has none that counts
	said    int64     // the last epoch that it gave
	reborn  bool      // it has begun its epochs anew, and has not caught up since
	renamed bool      // it has had another id
	refuted saying    // addresses tried in vain, or outvoted, that are still said
	lost    []absence // the replicas that it has lost
	abortAt time.Time // when it has published last that a failover will not happen
}

// absence is a replica that a sentinel has lost, and when it was asked that said so first.
type absence struct {
	addr  string
	since time.Time
}

// saying is the primary that a report names, and its epoch.
type saying struct {
	addr  string
	epoch int64
}

// electorate is all sentinels that are known, in the order in which they became so.
type electorate struct {
	all        []*voter
	owners     map[string]*voter // by run id: who speaks for it
	firstUntil time.Time         // until when the first decision waits; zero: no longer, or nobody was heard yet
	heard      bool
	decided    bool // the first decision was made

	counted  bool     // the following are of now
	reports  []*voter // whose reports count
	electors int      // how many votes there are, those included that are not given
}

func (s *State) do(e Effect) { s.out = append(s.out, e) }

func (s *State) take() []Effect {
	out := s.out
	s.out = nil
	return out
}

// drop ends a link that comes too late.
func (s *State) drop(e Event) {
	if d, ok := e.(Dialled); ok {
		s.do(End(d))
	}
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

func (s *State) newLink() Link {
	s.link++
	return s.link
}

// Phase is the present phase.
func (s *State) Phase() Phase { return s.phase }
