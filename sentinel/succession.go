package sentinel

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// refuseFor is how long the address that was just left is not gone back to, unless at a higher epoch.
	refuseFor = 15 * time.Second
	// fenceLimit bounds a fence whose replica does not become primary; fencePeriod the time in which fences that came to nothing may
	// take so long together. One sentinel that has gone wrong can not stop writes for longer.
	fenceLimit  = time.Second
	fencePeriod = 15 * time.Second
	// confirmWithin is how long the sentinels may take to confirm a primary that was moved to before it was announced.
	confirmWithin = 3 * time.Second
	// drainTime is how long calls under way may go on at a primary that was left.
	drainTime = 50 * time.Millisecond
)

var (
	errStarting = errors.New("not found yet")
	errDemoted  = errors.New("it is a replica now")
	errHung     = observe.NewCause("timeout", "it hangs")
)

// succession is the director's view of one name: who is primary, who was, and who is about to be. It belongs to the director's
// goroutine.
type succession struct {
	director *director
	primary  *primary
	reports  map[string]*report  // by sentinel id
	named    map[*watcher]bool   // sentinels that the user did not give, and that vote
	claim    *claim              // that the epochs begin anew; else nil
	refuted  map[*watcher]saying // what was tried in vain, or outvoted, and is still said

	target      string // the address that is to be primary: the present one's, or the one to try while there is none
	epoch       int64  // config-epoch of the present primary, or of the last
	left        map[string]leftAddr
	pulse       *pulse     // of the present primary, else nil
	pursuit     *pursuit   // of another primary, else nil
	held        *link      // to one that says it is the primary and is not announced yet, else nil
	returning   *returning // else nil
	fence       *fencing   // else nil
	mending     *mending   // else nil
	mendedAt    time.Time  // when the present primary's connection was last replaced
	provisional *provisional

	wasted    time.Duration // that fences took which came to nothing, since wastedAt
	wastedAt  time.Time
	downSince time.Time // zero while there is a primary
	cause     error     // why the last try to find it failed
	replicas  *replicaSet
}

type leftAddr struct {
	until time.Time
	epoch int64
}

// fencing is a fence and what it waits for.
type fencing struct {
	fence    *fence
	addr     string // of the replica to be promoted
	began    time.Time
	promoted bool // the replica says that it is the primary
	timer    *time.Timer
}

// provisional says that the present primary was moved to before the sentinels announced it.
type provisional struct {
	from  string
	timer *time.Timer
}

// since is when commands began to go to the primary, or when there was none any more.
func (s *succession) since() time.Time {
	if !s.downSince.IsZero() {
		return s.downSince
	}
	return s.primary.metrics.lastFound()
}

// fresh returns the reports that count: new ones of those who vote.
func (s *succession) fresh() []*report {
	var all []*report
	for id, r := range s.reports {
		if time.Since(r.at) > freshFor {
			delete(s.reports, id)
			continue
		}
		if s.votes(r.by) {
			all = append(all, r)
		}
	}
	return all
}

// majorityNames tells whether most sentinels list addr, as primary or replica. To others no credentials are sent.
func (s *succession) majorityNames(addr string) bool {
	reports, n := s.fresh(), 0
	for _, r := range reports {
		if r.names(addr) {
			n++
		}
	}
	return 2*n > len(reports)
}

// elect returns whom the sentinels call primary: the majority's choice or, while there is none, the one at the highest epoch.
func (s *succession) elect() (addr string, epoch int64, majority bool) {
	votes, epochs := make(map[string]int), make(map[string]int64)
	reports := s.fresh()
	for _, r := range reports {
		votes[r.addr]++
		if !r.midway { // its epoch is that of another address
			epochs[r.addr] = max(epochs[r.addr], r.epoch)
		}
	}
	for a, n := range votes {
		if 2*n > len(reports) {
			return a, epochs[a], true
		}
		if addr == "" || epochs[a] > epoch {
			addr, epoch = a, epochs[a]
		}
	}
	return addr, epoch, false
}

// decide compares what the sentinels say with what is, and acts.
func (s *succession) decide() {
	s.replicas.update(s.fresh(), s.target)
	s.judgeReturn()
	if addr, epoch, ok := s.later(false); ok {
		s.consider(addr, epoch)
		return
	}
	if addr, epoch, majority := s.elect(); majority && s.down() && addr != s.target && epoch >= s.epoch {
		s.aim(addr, epoch)
		return
	}
	s.judgeClaim()
	if addr, epoch, ok := s.later(true); ok && s.pursuit == nil {
		s.consider(addr, epoch)
	}
}

// down tells whether there is no primary.
func (s *succession) down() bool { return !s.downSince.IsZero() && s.provisional == nil }

// later returns the report that speaks of the latest epoch, of those that are later than the present one and can be followed. Others
// are counted: one sentinel that has gone wrong must not hide what the rest says. Reports that were refuted come last.
func (s *succession) later(refuted bool) (addr string, epoch int64, ok bool) {
	for _, r := range s.fresh() {
		switch {
		case s.target == "" || r.midway || r.epoch <= s.epoch || refuted != (s.refuted[r.by] == r.says()):
		case r.addr != s.target && !s.mayFollow(r.addr, r.epoch):
			s.primary.metrics.stale.Add(1)
		case r.epoch > epoch:
			addr, epoch, ok = r.addr, r.epoch, true
		}
	}
	return addr, epoch, ok
}

// consider follows a report of a later epoch, once the server itself says that it is the primary.
func (s *succession) consider(addr string, epoch int64) {
	switch {
	case addr == s.target:
		s.epoch = epoch
		s.confirm(addr)
	case s.held != nil && s.held.addr == addr && s.held.conn.Err() == nil:
		held := s.held
		s.held = nil
		s.install(held, epoch, triggerAnnounced)
	case s.pursuit != nil && s.pursuit.addr == addr:
		s.pursuit.epoch = epoch
		s.pursuit.doubted.Store(false)
	default:
		s.pursue(&pursuit{addr: addr, epoch: epoch, interval: slowInterval, trigger: triggerAnnounced})
	}
}

// mayFollow tells whether addr may become primary at all. The one that was just left may only if most sentinels name it anew.
func (s *succession) mayFollow(addr string, epoch int64) bool {
	if l, ok := s.left[addr]; ok && time.Now().Before(l.until) {
		elected, _, majority := s.elect()
		if epoch <= l.epoch || elected != addr || !majority {
			return false
		}
	}
	return s.allowed(addr) && s.majorityNames(addr)
}

func (s *succession) allowed(addr string) bool {
	list := s.director.client.options.Allow
	return len(list) == 0 || slices.Contains(list, addr)
}

// aim makes addr the one to try while there is no primary.
func (s *succession) aim(addr string, epoch int64) {
	if !s.mayFollow(addr, epoch) {
		s.primary.metrics.stale.Add(1)
		return
	}
	s.target, s.epoch = addr, epoch
	s.primary.target.Store(&addr)
	s.pursue(&pursuit{addr: addr, epoch: epoch, interval: slowInterval, trigger: triggerElected})
}

// selected hears that a sentinel is about to promote a replica.
func (s *succession) selected(addr string, w *watcher) {
	mode := s.director.client.options.Mode
	if mode == PushOnly || addr == s.target || s.provisional != nil || !s.isReplica(addr) || !s.allowed(addr) {
		return
	}
	s.raiseFence(addr, w.addr)
	p := &pursuit{addr: addr, interval: fastInterval, trigger: triggerSelected}
	l, left := s.left[addr]
	p.doubted.Store(left && time.Now().Before(l.until))
	s.pursue(p)
}

// isReplica tells whether most sentinels list addr as a replica.
func (s *succession) isReplica(addr string) bool {
	reports, n := s.fresh(), 0
	for _, r := range reports {
		if slices.ContainsFunc(r.replicas, func(x replicaReport) bool { return x.addr == addr }) {
			n++
		}
	}
	return 2*n > len(reports)
}

// announced hears +switch-master. The sentinel is polled at once, and its epoch decides.
func (s *succession) announced(addr string, w *watcher) {
	if addr == s.target {
		s.confirm(addr)
		return
	}
	if s.director.client.options.Mode != PushOnly && s.isReplica(addr) {
		s.raiseFence(addr, w.addr)
	}
}

// aborted hears that a failover will not happen.
func (s *succession) aborted(why string) {
	if s.pursuit != nil && s.pursuit.trigger == triggerSelected {
		s.dropPursuit()
	}
	s.lowerFence()
	if s.provisional != nil {
		s.revert(fmt.Errorf("sentinel says %s", why))
	}
}

// confirm notes that the sentinels have announced the present primary.
func (s *succession) confirm(addr string) {
	if s.provisional == nil || addr != s.target || s.primary.seat.Load().err != nil {
		return
	}
	s.provisional.timer.Stop()
	s.provisional = nil
	s.director.client.announce(Event{Kind: Confirmed, Primary: s.primary.name, Addr: addr, Epoch: s.epoch})
}

// revert goes back to what the majority of the sentinels says.
func (s *succession) revert(why error) {
	from := s.provisional.from
	s.provisional.timer.Stop()
	s.provisional = nil
	s.primary.metrics.reverts.Add(1)
	delete(s.left, from)
	addr, epoch, _ := s.elect()
	s.director.client.announce(Event{Kind: Reverted, Primary: s.primary.name, Addr: addr, Previous: s.target, Cause: why})
	if addr == "" || addr == s.target {
		return
	}
	s.lose(why)
	s.aim(addr, epoch)
}

// raiseFence holds writes back until the end of a failover, if fences that came to nothing have not used up their time.
func (s *succession) raiseFence(addr, sentinel string) {
	now := time.Now()
	if now.Sub(s.wastedAt) > fencePeriod {
		s.wasted, s.wastedAt = 0, now
	}
	present := s.primary.seat.Load()
	limit := fenceLimit - s.wasted
	if s.fence != nil || present.err != nil || limit <= 0 {
		return
	}
	f := &fencing{fence: &fence{lifted: make(chan struct{})}, addr: addr, began: now}
	s.fence = f
	fenced := *present
	fenced.fence = f.fence
	s.primary.seat.Store(&fenced)
	present.link.conn.Fence()
	s.primary.private.each((*wire.Conn).Fence)
	f.timer = time.AfterFunc(limit, func() { s.director.post(func() { s.fenceExpired(f) }) })
	s.director.client.publish(s.director)
	s.director.client.announce(Event{Kind: Fenced, Primary: s.primary.name, Addr: present.addr, Candidate: addr, Sentinel: sentinel})
}

func (s *succession) fenceExpired(f *fencing) {
	if s.fence != f {
		return
	}
	if f.promoted { // not one sentinel's word any more: the announcement is awaited
		f.timer = time.AfterFunc(confirmWithin, func() { s.director.post(func() { s.lowerFence() }) })
		f.promoted = false
		return
	}
	s.lowerFence()
}

// lowerFence lets writes pass again to the primary that there was.
func (s *succession) lowerFence() {
	f := s.fence
	if f == nil {
		return
	}
	present := s.primary.seat.Load()
	s.wasted += time.Since(f.began)
	s.primary.metrics.fencesWasted.Add(1)
	open := *present
	open.fence = nil
	s.primary.seat.Store(&open)
	present.link.conn.Unfence()
	s.primary.private.each((*wire.Conn).Unfence)
	s.endFence()
	s.director.client.publish(s.director)
	s.director.client.announce(Event{Kind: Unfenced, Primary: s.primary.name, Addr: present.addr, Candidate: f.addr})
}

// endFence wakes the writes that wait. The seat that they are to find is there already.
func (s *succession) endFence() {
	if s.fence != nil {
		s.fence.timer.Stop()
		close(s.fence.fence.lifted)
		s.fence = nil
	}
}

// close ends everything of this name.
func (s *succession) close() {
	p := s.primary
	old := p.seat.Load()
	p.seat.Store(&seat{generation: old.generation + 1, addr: old.addr, err: p.noPrimary(ErrClosed)})
	s.endFence()
	s.dropMending()
	s.dropPursuit()
	if s.returning != nil {
		s.endReturn(s.returning, ErrClosed)
	}
	s.pulse.stop()
	if s.provisional != nil {
		s.provisional.timer.Stop()
	}
	p.private.leave(old.generation + 1)(ErrClosed)
	if old.link != nil {
		old.link.conn.End(ErrClosed)
	}
	p.keepProbed(nil)
}
