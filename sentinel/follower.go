package sentinel

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// drainTime is how long calls under way may go on at a primary that was left.
const drainTime = 50 * time.Millisecond

// follower carries out what the state of one name decides, and tells it what comes of that. It belongs to the director's goroutine.
type follower struct {
	director   *director
	primary    *primary
	state      *follow.State
	watched    map[string]bool // the sentinels that the state wants to hear, by address
	candidates map[follow.Link]*candidate
	link       *link         // of the present primary, or of one that has stalled; else nil
	pulse      *pulse        // of the same
	term       follow.Link   // of the same
	fence      *fence        // writes wait for it; else nil
	chosen     string        // the replica that it waits for
	mended     chan struct{} // commands wait for it; else nil
	since      time.Time     // of the fence
	timer      *time.Timer   // of the state
	published  published
}

func newFollower(d *director, p *primary, sentinels []string) *follower {
	o := d.client.options
	f := &follower{director: d, primary: p, watched: make(map[string]bool), candidates: make(map[follow.Link]*candidate)}
	state, effects := follow.New(time.Now(), follow.Config{
		Mode: follow.Mode(o.Mode), Seeds: sentinels, Allow: o.Allow,
		StallTimeout: o.StallTimeout, RepairTimeout: o.HeartbeatTimeout, ResetTimeout: o.EpochResetTimeout,
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
	p, c := f.primary, f.primary.client
	switch e := e.(type) {
	case follow.Confirmed:
		v := f.state.View()
		c.announce(Event{Kind: Confirmed, Primary: p.name, Addr: v.Addr, Epoch: v.Epoch})
	case follow.Reverted:
		p.metrics.reverts.Add(1)
		c.announce(Event{Kind: Reverted, Primary: p.name, Addr: e.Addr, Previous: p.seat.Load().addr, Cause: e.Cause})
	case follow.Mismatch:
		c.announce(Event{Kind: RoleMismatch, Primary: p.name, Candidate: e.Candidate, Epoch: e.Epoch, Cause: e.Cause})
	case follow.Doubted:
		if e.Role {
			p.metrics.mismatches.Add(1)
		} else {
			p.metrics.stale.Add(1)
		}
	case follow.Strayed:
		f.director.log.Error("the client is in a state that it should not be in; please report this", observe.Endpoint(p.name), "from", e.From.String(), "to", e.To.String())
	case follow.Reborn:
		f.director.log.Warn("the sentinels' epochs begin anew", observe.Endpoint(p.name), "addr", e.Addr, "epoch", e.Epoch)
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
	p, c := f.primary, f.primary.client
	l := f.candidates[e.Link].link
	f.drop(e.Link)
	old, oldLink := p.seat.Load(), f.link
	fresh := &seat{generation: old.generation + 1, addr: l.addr, link: l}
	l.generation.Store(fresh.generation)
	p.metrics.installed(e.Trigger, f.disturbed(), time.Now())
	p.seat.Store(fresh)
	f.link, f.term = l, e.Link
	f.endWaits()
	endPrivates := p.private.leave(fresh.generation)
	if oldLink != nil {
		oldLink.conn.Retire()
	}
	moved := fmt.Errorf("%w: primary %q is now %s", ErrFailover, p.name, l.addr)
	p.endFollowed(fresh.generation, owesNothing, moved)
	time.AfterFunc(drainTime, func() {
		endPrivates(wire.ErrRetired)
		p.endFollowed(fresh.generation, every, moved)
		if oldLink != nil {
			oldLink.conn.End(wire.ErrRetired)
		}
	})
	f.pulse.stop()
	f.pulse = startPulse(f, l)
	f.restored()
	c.announce(Event{Kind: PrimaryUp, Primary: p.name, Addr: e.Addr, Previous: e.Previous, Epoch: e.Epoch, Trigger: e.Trigger.String()})
	f.publish()
}

// restored has the breaker say that there is a primary.
func (f *follower) restored() {
	if !forced(f.primary.breaker) {
		f.primary.breaker.Reset()
	}
}

// disturbed is since when writes could not pass; zero if they could.
func (f *follower) disturbed() time.Time {
	switch {
	case f.primary.seat.Load().err != nil:
		return f.primary.topology.Load().Since
	case f.fence != nil:
		return f.since
	}
	return time.Time{}
}

// down has commands refused.
func (f *follower) down(e follow.Down) {
	p, c := f.primary, f.primary.client
	old := p.seat.Load()
	none := &seat{generation: old.generation, addr: old.addr, err: p.noPrimary(e.Cause)}
	if !e.Keep {
		none.generation++
	}
	p.seat.Store(none)
	f.endWaits()
	f.publish() // before the calls end, so that their callers find what they look for
	if e.Keep {
		p.metrics.stalled.Add(1)
	} else {
		f.endCalls(none.generation, e.Cause)
	}
	if c.ctx.Err() != nil {
		return
	}
	p.metrics.lost.Add(1)
	p.breaker.Trip(e.Cause)
	c.announce(Event{Kind: PrimaryDown, Primary: p.name, Addr: old.addr, Epoch: f.state.View().Epoch, Cause: e.Cause})
}

// cut ends the commands of a primary that has stalled.
func (f *follower) cut(cause error) {
	cut := *f.primary.seat.Load()
	cut.generation++
	f.primary.seat.Store(&cut)
	f.endCalls(cut.generation, cause)
}

func (f *follower) endCalls(generation uint64, cause error) {
	f.pulse.stop()
	endPrivates := f.primary.private.leave(generation)
	if f.link != nil {
		f.link.conn.End(cause)
	}
	endPrivates(cause)
	f.primary.endFollowed(generation, every, cause)
	f.link, f.pulse = nil, nil
}

// resume lets commands pass again to a primary that has only stalled.
func (f *follower) resume() {
	p := f.primary
	old := p.seat.Load()
	p.metrics.installed(follow.ByResumption, f.disturbed(), time.Now())
	p.seat.Store(&seat{generation: old.generation, addr: old.addr, link: f.link})
	f.restored()
	p.client.announce(Event{Kind: PrimaryUp, Primary: p.name, Addr: old.addr, Previous: old.addr, Epoch: f.state.View().Epoch, Trigger: follow.ByResumption.String()})
	f.publish()
}

// hold has commands wait for another connection.
func (f *follower) hold() {
	f.mended = make(chan struct{})
	waiting := *f.primary.seat.Load()
	waiting.mended = f.mended
	f.primary.seat.Store(&waiting)
	f.primary.client.changed.notify()
}

// rejoin gives commands another connection to the same primary.
func (f *follower) rejoin(e follow.Rejoin) {
	p := f.primary
	l := f.candidates[e.Link].link
	f.drop(e.Link)
	whole := *p.seat.Load()
	whole.link, whole.mended = l, nil
	l.generation.Store(whole.generation)
	if whole.fence != nil {
		l.conn.Fence()
	}
	f.link = l
	f.pulse.link.Store(l)
	p.seat.Store(&whole)
	f.endHold()
	p.metrics.reconnected.Add(1)
	p.client.changed.notify()
	f.director.log.Info("connection replaced", observe.Endpoint(p.name), "addr", l.addr, observe.Cause(e.Cause))
}

// raise holds writes back.
func (f *follower) raise(e follow.Fence) {
	p := f.primary
	f.fence, f.chosen, f.since = &fence{lifted: make(chan struct{})}, e.Candidate, time.Now()
	fenced := *p.seat.Load()
	fenced.fence = f.fence
	p.seat.Store(&fenced)
	f.link.conn.Fence()
	p.private.each((*wire.Conn).Fence)
	f.publish()
	p.client.announce(Event{Kind: Fenced, Primary: p.name, Addr: fenced.addr, Candidate: e.Candidate, Sentinel: e.Sentinel})
}

// lift lets writes pass again to the primary that there was.
func (f *follower) lift() {
	p := f.primary
	p.metrics.fencesWasted.Add(1)
	open := *p.seat.Load()
	open.fence = nil
	p.seat.Store(&open)
	f.link.conn.Unfence()
	p.private.each((*wire.Conn).Unfence)
	f.endFence()
	f.publish()
	p.client.announce(Event{Kind: Unfenced, Primary: p.name, Addr: open.addr, Candidate: f.chosen})
}

// endWaits wakes the commands that wait. The seat that they are to find is there already.
func (f *follower) endWaits() {
	f.endFence()
	f.endHold()
}

func (f *follower) endFence() {
	if f.fence != nil {
		close(f.fence.lifted)
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
	p.metrics.alarms.Add(1)
	if p.alarmPosted.CompareAndSwap(false, true) {
		f.director.post(func() {
			p.alarmPosted.Store(false)
			if p.seat.Load().generation == generation {
				f.step(follow.Alarm{Term: f.term})
			}
		})
	}
}

// publish makes a new snapshot, and wakes whoever waits for one, if anything has changed.
func (f *follower) publish() {
	now := published{f.state.View(), f.primary.seat.Load(), f.director.sentinels()}
	if now.same(f.published) {
		return
	}
	f.published = now
	v, s := now.view, now.seat
	f.primary.cause.Store(&v.Cause)
	f.primary.replicas.update(v)
	t := Topology{
		Name: f.primary.name, Last: s.addr, Since: v.Since, Epoch: v.Epoch, Provisional: v.Phase == follow.Provisional, Fenced: v.Phase == follow.Fenced,
		Replicas: f.primary.replicas.snapshot(), Sentinels: now.sentinels,
	}
	if s.err == nil {
		t.Primary = s.addr
	}
	f.primary.topology.Store(&t)
	f.primary.client.changed.notify()
}

// close ends everything of this name.
func (f *follower) close() {
	f.step(follow.Close{Err: ErrClosed})
	p := f.primary
	old := p.seat.Load()
	p.seat.Store(&seat{generation: old.generation + 1, addr: old.addr, err: p.noPrimary(ErrClosed)})
	if f.timer != nil {
		f.timer.Stop()
	}
	for number := range f.candidates {
		f.end(number)
	}
	f.endWaits()
	f.endCalls(old.generation+1, ErrClosed)
}

// pushKind is what a sentinel's event says.
func pushKind(channel string) follow.PushKind {
	switch {
	case channel == pushSelected:
		return follow.Selected
	case channel == pushPromoted:
		return follow.Promoted
	case channel == pushSwitch:
		return follow.Switched
	case strings.HasPrefix(channel, "-failover-abort"):
		return follow.Aborted
	}
	return follow.Other
}
