package follow

import "time"

// Event is something that has happened.
type Event interface{ event() }

// Link is the number of a connection to a server, given by a Dial. 0 is none.
type Link uint64

// Heard is a sentinel's answer to a poll.
type Heard struct {
	Sentinel string // address
	ID       string // its run id, or its address if it does not tell
	Asked    time.Time
	Missed   bool    // what it has published before may not have been heard
	Report   *Report // nil: it does not know the name
	Err      error   // why not
}

// Report is a sentinel's report on the name. A State that was given one keeps it.
type Report struct {
	Addr      string // of the primary
	RunID     string // of the primary; empty if it does not tell
	Epoch     int64  // config-epoch
	Midway    bool   // it leads a failover: its epoch is the new one already, its address still the old
	DownAfter time.Duration
	Replicas  []Replica
	Peers     []Peer // the other sentinels
}

// Replica is a replica as a sentinel lists it.
type Replica struct {
	Addr, RunID string
	Usable      bool // it is not lost, and its link to the primary is up
	Lost        bool // it is down, or disconnected from the sentinel
	Down        bool // the sentinel calls it down
}

// Peer is a sentinel as another one lists it.
type Peer struct{ ID, Addr string }

// Unheard is a poll that has failed.
type Unheard struct {
	Sentinel string
	Asked    time.Time // when it began
}

// Pushed is an event that a sentinel has published. It is a hint: polls and the servers' own words
// decide.
type Pushed struct {
	Sentinel string
	Kind     PushKind
	Addr     string // of the replica that is selected or promoted, or of the primary that is switched to
	Text     string // as the sentinel calls it
}

// PushKind is what a push says.
type PushKind int

// The kinds of pushes. Others only have the sentinel asked.
const (
	Other    PushKind = iota
	Selected          // a replica was chosen to be promoted
	Promoted          // it says that it is the primary
	Switched          // it is announced
	Aborted           // the failover will not happen
)

// Dialled is a connection that was asked for, ready to be used.
type Dialled struct{ Link Link }

// Answered is a server's answer to the question for its role.
type Answered struct {
	Link    Link
	Primary bool
}

// Failed is a dial or a question without an answer. The link is no more.
type Failed struct {
	Link      Link
	Err       error
	Permanent bool // it will fail until somebody changes a configuration
}

// Ended is a connection that was lost while nothing was asked on it.
type Ended struct {
	Link Link
	At   time.Time
	Err  error
}

// Beat is an answer of the primary to the heartbeat: it says that it is one. Connected is when the
// heartbeat's connection was opened, Asked when the question was sent. Term is the number of the
// Swap that the heartbeat began with.
type Beat struct {
	Term             Link
	Connected, Asked time.Time
}

// Silent is a primary that owes answers and has sent nothing For so long.
type Silent struct {
	Term Link
	For  time.Duration
}

// Died is a heartbeat that has ended: its connection cannot be opened again, or the primary says
// that it is a replica.
type Died struct {
	Term Link
	Err  error
}

// Alarm is a reply such as READONLY, which no primary gives.
type Alarm struct{ Term Link }

// Force is an operator who takes the primary away.
type Force struct{}

// Reset is one who gives it back.
type Reset struct{}

// Close is the end.
type Close struct{ Err error }

// Tick is the time that a Wake has asked for. One too many does no harm.
type Tick struct{}

func (Heard) event()    {}
func (Unheard) event()  {}
func (Pushed) event()   {}
func (Dialled) event()  {}
func (Answered) event() {}
func (Failed) event()   {}
func (Ended) event()    {}
func (Beat) event()     {}
func (Silent) event()   {}
func (Died) event()     {}
func (Alarm) event()    {}
func (Force) event()    {}
func (Reset) event()    {}
func (Close) event()    {}
func (Tick) event()     {}

// Effect is something to be done.
type Effect interface{ effect() }

// Watch begins to poll a sentinel and to hear its pushes.
type Watch struct{ Sentinel string }

// Unwatch ends that.
type Unwatch struct{ Sentinel string }

// Poll asks a sentinel now, or all of them if none is named.
type Poll struct{ Sentinel string }

// Dial opens a connection to a server: Dialled or Failed follows.
type Dial struct {
	Link Link
	Addr string
}

// Ask asks on a connection for the role: Answered or Failed follows.
type Ask struct{ Link Link }

// End closes a connection, and ends a dial that is under way.
type End struct{ Link Link }

// Swap makes the server of a link the primary. What went before is drained and ended; a heartbeat
// begins, whose events have Term Link.
type Swap struct {
	Link     Link
	Addr     string
	Previous string // of the primary before; empty if it is the first
	Epoch    int64
	Trigger  Trigger
}

// Trigger is why a server became the primary.
type Trigger int

// The triggers.
const (
	BySelection    Trigger = iota // a sentinel selected it, and it became the primary
	ByAnnouncement                // a sentinel named it at a later epoch
	ByElection                    // the sentinels name it, and there was no primary
	ByReturn                      // the same as before answers again
	ByResumption                  // the same as before has only stalled
	Triggers
)

// String is the trigger's name, as in metrics.
func (t Trigger) String() string {
	return [Triggers]string{"selected", "announced", "elected", "returned", "resumed"}[t]
}

// Down has commands refused from now on. Those under way end at once, or live on if Keep is set, as
// the primary may only stall.
type Down struct {
	Cause error
	Keep  bool
}

// Cut ends the commands that a Down had kept.
type Cut struct{ Cause error }

// Resume lets commands pass again to the primary of a Down that kept them.
type Resume struct{}

// Hold has commands wait for another connection to the primary.
type Hold struct{}

// Rejoin gives them one.
type Rejoin struct {
	Link  Link
	Cause error // why the one before was lost
}

// Fence has writes wait.
type Fence struct{ Candidate, Sentinel string }

// Lift lets them pass again to the primary that there was.
type Lift struct{}

// Question has the heartbeat ask now.
type Question struct{}

// Wake has a Tick sent at a time, in place of the time before.
type Wake struct{ At time.Time }

// Confirmed says that the sentinels have announced the primary that was moved to before.
type Confirmed struct{}

// Reverted says that they have not: the move was wrong, and Addr is whom most of them name.
type Reverted struct {
	Addr  string
	Cause error
}

// Mismatch says that a server that was named has not become primary.
type Mismatch struct {
	Candidate string
	Epoch     int64
	Cause     error
}

// Strayed tells that the phase has changed as it never should.
type Strayed struct{ From, To Phase }

// Doubted counts a report that is not followed, or a server that says replica where a primary is
// expected.
type Doubted struct{ Role bool }

// Reborn says that the sentinels' epochs begin anew.
type Reborn struct {
	Addr  string
	Epoch int64
}

func (Strayed) effect()   {}
func (Watch) effect()     {}
func (Unwatch) effect()   {}
func (Poll) effect()      {}
func (Dial) effect()      {}
func (Ask) effect()       {}
func (End) effect()       {}
func (Swap) effect()      {}
func (Down) effect()      {}
func (Cut) effect()       {}
func (Resume) effect()    {}
func (Hold) effect()      {}
func (Rejoin) effect()    {}
func (Fence) effect()     {}
func (Lift) effect()      {}
func (Question) effect()  {}
func (Wake) effect()      {}
func (Confirmed) effect() {}
func (Reverted) effect()  {}
func (Mismatch) effect()  {}
func (Doubted) effect()   {}
func (Reborn) effect()    {}
