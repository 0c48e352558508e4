package follow

// Phase is one of the phases of a State.
type Phase int

// The phases.
const (
	// Searching: there is no primary. Commands are refused.
	Searching Phase = iota
	// Returning: the last primary answers again. Commands are refused until the sentinels agree.
	Returning
	// Up: the primary serves.
	Up
	// Fenced: the primary serves reads; writes wait for a replica that was selected to take over.
	Fenced
	// Provisional: the replica serves, and is not announced yet.
	Provisional
	// Stalled: the primary is silent. New commands are refused, those under way live on.
	Stalled
	// Forced: an operator has taken the primary away.
	Forced
	// Closed: nothing happens any more.
	Closed
	phases
)

// String is the phase's name.
func (p Phase) String() string {
	return [phases]string{"searching", "returning", "up", "fenced", "provisional", "stalled", "forced", "closed"}[p]
}

// Serves reports whether commands have a primary.
func (p Phase) Serves() bool { return p == Up || p == Fenced || p == Provisional }

// Transition is a way from one phase to another.
type Transition struct {
	From, To Phase
	Why      string
}

// Transitions are all that there are, but for those to Forced and Closed, which lead from
// everywhere.
func Transitions() []Transition {
	return []Transition{
		{Searching, Up, "a server that most sentinels name says that it is the primary"},
		{Searching, Provisional, "a selected replica says that it is the primary"},
		{Searching, Returning, "the last primary answers again"},
		{Returning, Up, "most sentinels have named it since and the others had a moment, or none answers"},
		{Returning, Provisional, "the same, before its announcement"},
		{Returning, Searching, "they name another, or are not heard in time"},
		{Returning, Stalled, "the same, while it may yet awake"},
		{Up, Fenced, "a sentinel selects a replica"},
		{Up, Provisional, "a selected replica says that it is the primary, and fences have used up their time"},
		{Up, Stalled, "nothing is heard for HeartbeatTimeout"},
		{Up, Searching, "it is lost, or says that it is a replica"},
		{Fenced, Provisional, "the replica says that it is the primary"},
		{Fenced, Up, "the failover is announced, aborted, or takes too long"},
		{Fenced, Searching, "the primary is lost or silent"},
		{Provisional, Up, "the sentinels announce it, or most name no other in time"},
		{Provisional, Searching, "it is lost or silent, or most sentinels name another"},
		{Stalled, Up, "the primary is heard again, or another one is announced"},
		{Stalled, Returning, "a new connection is answered"},
		{Stalled, Searching, "StallTimeout is over, it is lost, or a failover begins"},
		{Forced, Searching, "the operator gives it back"},
	}
}

// allowed reports whether a transition is among them.
func allowed(from, to Phase) bool {
	if to == Forced || to == Closed {
		return true
	}
	for _, t := range Transitions() {
		if t.From == from && t.To == to {
			return true
		}
	}
	return false
}

// Mode says when a failover is followed.
type Mode int

// The modes.
const (
	Eager     Mode = iota // move as soon as the selected replica says that it is the primary
	FenceOnly             // hold writes from then on, move once it is announced
	PushOnly              // move once it is announced
)
