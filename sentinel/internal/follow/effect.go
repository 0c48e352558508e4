package follow

import "time"

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
