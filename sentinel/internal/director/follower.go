package director

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// drainTime is how long calls under way may go on at a primary that was left.
const drainTime = 50 * time.Millisecond

// follower carries out what the state of one name decides, and tells it what comes of that. It
// belongs to the director's goroutine.
type follower struct {
	director   *Director
	primary    *Primary
	state      *follow.State
	watched    map[string]bool // the sentinels that the state wants to hear, by address
	candidates map[follow.Link]*candidate
	link       *link         // of the present primary, or of one that has stalled; else nil
	pulse      *pulse        // of the same
	term       follow.Link   // of the same
	fence      *route.Fence  // writes wait for it; else nil
	chosen     string        // the replica that it waits for
	mended     chan struct{} // commands wait for it; else nil
	since      time.Time     // of the fence
	timer      *time.Timer   // of the state
	published  *Snapshot     // nil before the first
}

func newFollower(d *Director, p *Primary) *follower {
	f := &follower{director: d, primary: p, watched: make(map[string]bool), candidates: make(map[follow.Link]*candidate)}
	state, effects := follow.NewState(time.Now(), follow.Config{
		Mode: d.Mode, Seeds: d.Seeds, Allow: d.Allow,
		StallTimeout: d.StallTimeout, RepairTimeout: d.HeartbeatTimeout, ResetTimeout: d.ResetTimeout,
	})
	f.state = state
	d.post(func() { f.run(effects) })
	return f
}

// step has the state take in an event, and carries out what it says.
func (f *follower) step(e follow.Event) { f.run(f.state.Step(time.Now(), e)) }

func (f *follower) run(effects []follow.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case follow.Watch:
			f.director.watch(e.Sentinel, f)
		case follow.Unwatch:
			f.director.unwatch(e.Sentinel, f)
		case follow.Poll:
			f.director.poke(e.Sentinel, f)
		case follow.Wake:
			f.wakeAt(e.At)
		case follow.Dial:
			f.dial(e)
		case follow.Ask:
			f.ask(e.Link)
		case follow.End:
			f.end(e.Link)
		case follow.Question:
			f.pulse.beatNow()
		default:
			f.serve(e)
		}
	}
}

// serve carries out what changes where commands go, and tells of what does not.
func (f *follower) serve(e follow.Effect) {
	switch e := e.(type) {
	case follow.Swap:
		f.swap(e)
	case follow.Down:
		f.down(e)
	case follow.Cut:
		f.cut(e.Cause)
	case follow.Resume:
		f.resume()
	case follow.Hold:
		f.hold()
	case follow.Rejoin:
		f.rejoin(e)
	case follow.Fence:
		f.raise(e)
	case follow.Lift:
		f.lift()
	default:
		f.tell(e)
	}
}

// tell tells the log, the user and the metrics.
func (f *follower) tell(e follow.Effect) {
	p, d := f.primary, f.director
	switch e := e.(type) {
	case follow.Confirmed:
		v := f.state.View()
		d.Tell(Event{Kind: Confirmed, Primary: p.Name, Addr: v.Addr, Epoch: v.Epoch})
	case follow.Reverted:
		p.failovers.reverts.Add(1)
		d.Tell(Event{Kind: Reverted, Primary: p.Name, Addr: e.Addr, Previous: p.Seat().Addr, Cause: e.Cause})
	case follow.Mismatch:
		d.Tell(Event{Kind: RoleMismatch, Primary: p.Name, Candidate: e.Candidate, Epoch: e.Epoch, Cause: e.Cause})
	case follow.Doubted:
		if e.Role {
			p.failovers.mismatches.Add(1)
		} else {
			p.failovers.stale.Add(1)
		}
	case follow.Strayed:
		f.director.Log.Error("the client is in a state that it should not be in; please report this", observe.Endpoint(p.Name), "from", e.From.String(), "to", e.To.String())
	case follow.Reborn:
		f.director.Log.Warn("the sentinels' epochs begin anew", observe.Endpoint(p.Name), "addr", e.Addr, "epoch", e.Epoch)
	}
}

func (f *follower) wakeAt(at time.Time) {
	if f.timer != nil {
		f.timer.Stop()
	}
	f.timer = time.AfterFunc(time.Until(at), func() {
		f.director.post(func() {
			f.step(follow.Tick{})
			f.publish()
		})
	})
}

// swap makes the server of a link the primary.
func (f *follower) swap(e follow.Swap) {
	p, d := f.primary, f.director
	l := f.candidates[e.Link].link
	f.drop(e.Link)
	old, oldLink := p.Seat(), f.link
	fresh := &route.Seat{Generation: old.Generation + 1, Addr: l.addr, Conn: l.conn, Beats: l.beats}
	l.generation.Store(fresh.Generation)
	p.failovers.installed(e.Trigger, f.disturbed(), time.Now())
	p.Install(fresh)
	f.link, f.term = l, e.Link
	f.endWaits()
	endPrivates := p.LeavePrivate(fresh.Generation)
	if oldLink != nil {
		oldLink.conn.Retire()
	}
	moved := fmt.Errorf("%w: primary %q is now %s", outcome.ErrFailover, p.Name, l.addr)
	p.EndIdleFollowed(fresh.Generation, moved)
	time.AfterFunc(drainTime, func() {
		endPrivates(wire.ErrRetired)
		p.EndFollowed(fresh.Generation, moved)
		if oldLink != nil {
			oldLink.conn.End(wire.ErrRetired)
		}
	})
	f.pulse.stop()
	f.pulse = startPulse(f, l)
	p.restored()
	d.Tell(Event{Kind: PrimaryUp, Primary: p.Name, Addr: e.Addr, Previous: e.Previous, Epoch: e.Epoch, Trigger: e.Trigger})
	f.publish()
}

// disturbed is since when writes could not pass; zero if they could.
func (f *follower) disturbed() time.Time {
	switch {
	case f.primary.Seat().Err != nil:
		return f.primary.Snapshot().View.Since
	case f.fence != nil:
		return f.since
	}
	return time.Time{}
}

// down has commands refused.
func (f *follower) down(e follow.Down) {
	p, d := f.primary, f.director
	old := p.Seat()
	none := &route.Seat{Generation: old.Generation, Addr: old.Addr, Err: p.NoPrimary(e.Cause)}
	if !e.Keep {
		none.Generation++
	}
	if e.Keep {
		p.failovers.stalled.Add(1)
	}
	if d.Context.Err() == nil {
		p.failovers.lost.Add(1)
	}
	p.Install(none)
	f.endWaits()
	f.publish() // before the calls end, so that their callers find what they look for
	if !e.Keep {
		f.endCalls(none.Generation, e.Cause)
	}
	if d.Context.Err() != nil {
		return
	}
	p.Breaker.Trip(e.Cause)
	d.Tell(Event{Kind: PrimaryDown, Primary: p.Name, Addr: old.Addr, Epoch: f.state.View().Epoch, Cause: e.Cause})
}

// cut ends the commands of a primary that has stalled.
func (f *follower) cut(cause error) {
	cut := *f.primary.Seat()
	cut.Generation++
	f.primary.Install(&cut)
	f.endCalls(cut.Generation, cause)
}

func (f *follower) endCalls(generation uint64, cause error) {
	f.pulse.stop()
	endPrivates := f.primary.LeavePrivate(generation)
	if f.link != nil {
		f.link.conn.End(cause)
	}
	endPrivates(cause)
	f.primary.EndFollowed(generation, cause)
	f.link, f.pulse = nil, nil
}

// resume lets commands pass again to a primary that has only stalled.
func (f *follower) resume() {
	p := f.primary
	old := p.Seat()
	p.failovers.installed(follow.ByResumption, f.disturbed(), time.Now())
	p.Install(&route.Seat{Generation: old.Generation, Addr: old.Addr, Conn: f.link.conn, Beats: f.link.beats})
	p.restored()
	f.director.Tell(Event{Kind: PrimaryUp, Primary: p.Name, Addr: old.Addr, Previous: old.Addr, Epoch: f.state.View().Epoch, Trigger: follow.ByResumption})
	f.publish()
}

// hold has commands wait for another connection.
func (f *follower) hold() {
	f.mended = make(chan struct{})
	waiting := *f.primary.Seat()
	waiting.Mended = f.mended
	f.primary.Install(&waiting)
	f.director.Changed.Notify()
}

// rejoin gives commands another connection to the same primary.
func (f *follower) rejoin(e follow.Rejoin) {
	p := f.primary
	l := f.candidates[e.Link].link
	f.drop(e.Link)
	whole := *p.Seat()
	whole.Conn, whole.Beats, whole.Mended = l.conn, l.beats, nil
	l.generation.Store(whole.Generation)
	if whole.Fence != nil {
		l.conn.Fence()
	}
	f.link = l
	f.pulse.link.Store(l)
	p.failovers.reconnected.Add(1) // before callers go on, who may look
	p.Install(&whole)
	f.endHold()
	f.director.Changed.Notify()
	f.director.Log.Info("connection replaced", observe.Endpoint(p.Name), "addr", l.addr, observe.Cause(e.Cause))
}

// raise holds writes back.
func (f *follower) raise(e follow.Fence) {
	p := f.primary
	f.fence, f.chosen, f.since = &route.Fence{Lifted: make(chan struct{})}, e.Candidate, time.Now()
	fenced := *p.Seat()
	fenced.Fence = f.fence
	p.Install(&fenced)
	f.link.conn.Fence()
	p.EachPrivate((*wire.Conn).Fence)
	f.publish()
	f.director.Tell(Event{Kind: Fenced, Primary: p.Name, Addr: fenced.Addr, Candidate: e.Candidate, Sentinel: e.Sentinel})
}

// lift lets writes pass again to the primary that there was.
func (f *follower) lift() {
	p := f.primary
	p.failovers.fencesWasted.Add(1)
	open := *p.Seat()
	open.Fence = nil
	p.Install(&open)
	f.link.conn.Unfence()
	p.EachPrivate((*wire.Conn).Unfence)
	f.endFence()
	f.publish()
	f.director.Tell(Event{Kind: Unfenced, Primary: p.Name, Addr: open.Addr, Candidate: f.chosen})
}

// endWaits wakes the commands that wait. The seat that they are to find is there already.
func (f *follower) endWaits() {
	f.endFence()
	f.endHold()
}

func (f *follower) endFence() {
	if f.fence != nil {
		close(f.fence.Lifted)
		f.fence = nil
	}
}

func (f *follower) endHold() {
	if f.mended != nil {
		close(f.mended)
		f.mended = nil
	}
}

// alarmed takes in that a server refused a command as one that is no primary does.
func (f *follower) alarmed(generation uint64) {
	p := f.primary
	p.failovers.alarms.Add(1)
	if p.alarmPosted.CompareAndSwap(false, true) {
		f.director.post(func() {
			p.alarmPosted.Store(false)
			if p.Seat().Generation == generation {
				f.step(follow.Alarm{Term: f.term})
			}
		})
	}
}

// publish makes a new snapshot, and wakes all that wait for one, if anything has changed.
func (f *follower) publish() {
	now := &Snapshot{View: f.state.View(), Seat: f.primary.Seat(), Sentinels: f.director.sentinels()}
	if now.same(f.published) {
		return
	}
	f.published = now
	f.primary.cause.Store(&now.View.Cause)
	f.primary.Replicas.Update(now.View)
	now.Replicas = f.primary.Replicas.Listed()
	f.primary.snapshot.Store(now)
	f.director.Changed.Notify()
}

// close ends everything of this name.
func (f *follower) close() {
	f.step(follow.Close{Err: outcome.ErrClosed})
	p := f.primary
	old := p.Seat()
	p.Install(&route.Seat{Generation: old.Generation + 1, Addr: old.Addr, Err: p.NoPrimary(outcome.ErrClosed)})
	if f.timer != nil {
		f.timer.Stop()
	}
	for number := range f.candidates {
		f.end(number)
	}
	f.endWaits()
	f.endCalls(old.Generation+1, outcome.ErrClosed)
}

// explain takes in why a server could not be asked. What it replied, or who has its credentials,
// says of a primary that is down tells more than the lost connection that it began with.
func (f *follower) explain(err error) {
	present := f.primary.Seat()
	if _, replied := wire.ErrorReply(err); present.Err == nil || !replied && !errors.Is(err, access.ErrNoCredentials) || f.director.Context.Err() != nil {
		return
	}
	f.because(err)
}

// because has the commands that are refused say why.
func (f *follower) because(err error) {
	why := *f.primary.Seat()
	if why.Err == nil || err == nil {
		return
	}
	before := why.Err.Error()
	if why.Err = f.primary.NoPrimary(err); why.Err.Error() != before {
		f.primary.Install(&why)
	}
}
