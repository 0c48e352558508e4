package follow

import (
	"cmp"
	"slices"
	"time"
)

// admit has the sentinels watched that most who vote name, one of whom was just heard, and notes
// that they vote. Who votes does so while one still says it, or did a moment ago, or too few are
// heard to say otherwise, or none that the user gave has a vote any more. Too few are not when most
// of the given ones are heard: who is neither heard nor named by anybody for a while has been
// replaced.
func (s *State) admit(by *voter) {
	e := &s.voters
	reports := s.fresh()
	if len(reports) == 0 {
		return
	}
	given, heard := e.given(s.now)
	changed := false
	for _, v := range e.all {
		if v.seed {
			continue
		}
		n := naming(reports, Peer{v.id, v.addr})
		others := len(reports)
		if slices.Contains(reports, v) { // who does not name itself
			others--
		}
		lately := !v.renamed && s.now.Sub(v.namedAt) <= replacedAfter
		replaced := 2*heard > given && !v.fresh(s.now)
		member := s.majority(n) || v.member && (n > 0 || given == 0 || lately || !replaced && !s.majority(others))
		changed = changed || member != v.member
		v.member = member
		if n > 0 {
			v.namedAt = s.now
		}
	}
	if by.report != nil && by.votes() {
		s.meet(by.report.Peers)
	}
	e.counted = e.counted && !changed
}

// meet has those of the sentinels watched that most who vote name.
func (s *State) meet(peers []Peer) {
	e := &s.voters
	for _, p := range peers {
		known := slices.ContainsFunc(e.all, func(v *voter) bool { return v.addr == p.Addr || v.id == p.ID })
		if !known && len(e.all) < maxVoters && s.majority(naming(s.fresh(), p)) {
			e.add(p.Addr, s.now)
			s.do(Watch{p.Addr})
		}
	}
}

// forget stops watching the sentinels that nobody has named for a while. Seeds are never forgotten,
// nor is anybody while none answers.
func (s *State) forget() {
	s.voters.all = slices.DeleteFunc(s.voters.all, func(v *voter) bool {
		gone := !v.seed && !v.member && s.now.Sub(v.namedAt) > forgetAfter
		if gone { // it had no vote
			s.voters.disown(v)
			s.do(Unwatch{v.addr})
		}
		return gone
	})
}

// fresh returns the sentinels whose reports count.
func (s *State) fresh() []*voter {
	if !s.voters.counted {
		s.voters.count(s.now)
	}
	return s.voters.reports
}

// majority reports whether n are most of all that vote.
func (s *State) majority(n int) bool {
	s.fresh()
	return 2*n > s.voters.electors
}

// most reports whether most of all that vote say such.
func (s *State) most(is func(*voter) bool) bool {
	n := 0
	for _, v := range s.fresh() {
		if is(v) {
			n++
		}
	}
	return s.majority(n)
}

// count counts reports by the primary that they name. The epoch of one that is midway is that of
// another address.
func (s *State) count(reports []*voter, counts func(*voter) bool) []tally {
	var all []tally
	for _, v := range reports {
		if counts != nil && !counts(v) {
			continue
		}
		addr := s.named(v)
		i := slices.IndexFunc(all, func(t tally) bool { return t.addr == addr })
		if i < 0 {
			i = len(all)
			all = append(all, tally{addr: addr})
		}
		t := &all[i]
		t.n++
		if epoch := v.report.Epoch; !v.report.Midway && (!t.told || epoch < t.epoch) {
			t.epoch, t.told = epoch, true
		}
	}
	return all
}

// elect returns whom the sentinels call primary: the majority's choice or, while there is none, the
// one at the highest epoch.
func (s *State) elect() (elected tally, majority bool) {
	reports := s.fresh()
	for _, t := range s.count(reports, nil) {
		if s.majority(t.n) {
			t.epoch = s.agreed(t.addr, reports)
			return t, true
		}
		if !t.told {
			t.epoch = s.primary.epoch
		}
		if elected.addr == "" || t.epoch > elected.epoch {
			elected = t
		}
	}
	return elected, false
}

// agreed is the latest epoch that most have reached who call addr primary: one that has gone wrong
// may say any. So while too few tell theirs, as others are midway, it is not later than the present
// one. Where there is none yet, it is the one before that of those who are midway.
func (s *State) agreed(addr string, reports []*voter) int64 {
	epochs := make([]int64, 0, len(reports))
	for _, v := range reports {
		switch {
		case s.named(v) != addr:
		case !v.report.Midway:
			epochs = append(epochs, v.report.Epoch)
		case s.primary.addr == "":
			epochs = append(epochs, v.report.Epoch-1)
		}
	}
	if len(epochs) == 0 {
		return s.primary.epoch
	}
	slices.Sort(epochs)
	if !s.majority(len(epochs)) {
		return min(epochs[0], s.primary.epoch)
	}
	return epochs[len(epochs)-s.voters.electors/2-1]
}

// named is the address of the primary that a report names. Sentinels may call one server by several
// addresses, by IP address and by name: what has the run id of the present primary is the present
// primary, for as long as that one is reached at the address that it has.
func (s *State) named(v *voter) string {
	if s.phase != Searching && v.report.RunID != "" && v.report.RunID == s.primary.id && s.otherwise(v) {
		return s.primary.addr
	}
	return v.report.Addr
}

// otherwise reports whether a sentinel does not tell the present primary by the address that it
// has. Else another one with its run id is not it: run ids may repeat, as of copies.
func (s *State) otherwise(v *voter) bool {
	return v.report.Addr != s.primary.addr && !v.lists(s.primary.addr)
}

// meant is the address of the server that an event tells: that of the present primary, if its
// sentinel lists that one so.
func (s *State) meant(v *voter, addr string) string {
	id := s.primary.id
	if s.phase != Searching && id != "" && v.fresh(s.now) && s.otherwise(v) && v.sees(addr, func(r *Replica) bool { return r.RunID == id }) {
		return s.primary.addr
	}
	return addr
}

// identify notes the run id that most reports give the present primary.
func (s *State) identify() {
	reports := s.fresh()
	for _, v := range reports {
		n := 0
		for _, o := range reports {
			if o.report.Addr == s.primary.addr && o.report.RunID == v.report.RunID {
				n++
			}
		}
		if v.report.RunID != "" && s.majority(n) {
			s.primary.id = v.report.RunID
		}
	}
}

// names reports whether a report has addr as primary or replica. The present primary may be listed
// by another address of its.
func (s *State) names(v *voter, addr string) bool {
	id := s.primary.id
	return s.named(v) == addr || v.lists(addr) ||
		addr == s.primary.addr && id != "" && slices.ContainsFunc(v.report.Replicas, func(r Replica) bool { return r.RunID == id })
}

// known reports whether most sentinels list addr: as a replica or, if they have not heard of the
// last failover yet, as the primary.
func (s *State) known(addr string) bool {
	return s.most(func(v *voter) bool { return s.names(v, addr) })
}

func (s *State) allowed(addr string) bool {
	return len(s.config.Allow) == 0 || slices.Contains(s.config.Allow, addr)
}

// calledPrimary reports whether most call addr the primary.
func (s *State) calledPrimary(addr string) bool {
	return s.most(func(v *voter) bool { return s.named(v) == addr })
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

// ahead counts the reports of later epochs than the present one that name another server.
func (s *State) ahead(refuted bool) []tally {
	if s.primary.addr == "" {
		return nil
	}
	return s.count(s.fresh(), func(v *voter) bool {
		return v.report.Epoch > s.primary.epoch && !v.report.Midway && s.named(v) != s.primary.addr && refuted == (v.refuted == v.says())
	})
}

// later returns whom reports of later epochs than the present one name, of those who can be
// followed: whom most of them name, then who is asked already, then who has the latest epoch.
// Others are counted: one sentinel that has gone wrong must not hide what the rest says. Reports
// that were refuted come last.
func (s *State) later(refuted bool) (said saying, ok bool) {
	best := tally{}
	for _, t := range s.ahead(refuted) {
		if !s.mayFollow(t.addr) {
			s.do(Doubted{})
			continue
		}
		asked := t.addr == s.next.addr
		if t.n > best.n || t.n == best.n && best.addr != s.next.addr && (asked || t.epoch > best.epoch) {
			best = t
		}
	}
	return saying{best.addr, best.epoch}, best.n > 0
}

// mayFollow reports whether addr may become primary at all: most sentinels list it and, unless it
// has been a replica of late, most call it primary, at no epoch of before. The one that was just
// left they must call so anew. To others no credentials are sent.
func (s *State) mayFollow(addr string) bool {
	l, left := s.leaver(addr), s.refuses(addr)
	if left || !s.stoodBy(addr) {
		named := func(v *voter) bool {
			return s.named(v) == addr && v.report.Epoch >= s.primary.epoch && (!left || !v.report.Midway && v.report.Epoch > l.epoch)
		}
		if !s.most(named) {
			return false
		}
	}
	return s.allowed(addr) && s.known(addr)
}

// undecided reports whether the sentinels' choice is needed: there is no primary, and none that was
// moved to before its announcement has just been lost.
func (s *State) undecided() bool { return !s.phase.Serves() && s.move.from == "" }

// replaces reports whether a sentinel leads a failover of the present primary. One that leads the
// last one may still wait for replicas to follow, for minutes, and names the primary of before;
// others have announced this one then.
func (s *State) replaces(v *voter) bool {
	return v.report.Midway && (v.report.Epoch > max(s.primary.epoch, s.primary.told) || s.named(v) == s.primary.addr)
}

// failoverBegins reports whether a sentinel leads a failover, or most name another primary.
func (s *State) failoverBegins() bool {
	if slices.ContainsFunc(s.fresh(), s.replaces) {
		return true
	}
	elected, majority := s.elect()
	return majority && elected.addr != s.primary.addr
}

// stallTimeout is how long commands of a silent primary live.
func (s *State) stallTimeout() time.Duration {
	if s.config.StallTimeout != 0 {
		return s.config.StallTimeout
	}
	var all []time.Duration
	for _, v := range s.fresh() {
		all = append(all, v.report.DownAfter)
	}
	if !s.majority(len(all)) {
		return leastStall
	}
	slices.Sort(all) // what most have at least
	return min(max(all[len(all)-s.voters.electors/2-1], leastStall), mostStall)
}

func (s *State) leaver(addr string) *leaver {
	if i := slices.IndexFunc(s.left, func(l leaver) bool { return l.addr == addr }); i >= 0 {
		return &s.left[i]
	}
	return nil
}

// leave remembers a server that was left for another, comeBack forgets it.
func (s *State) leave(addr string, next saying, why Trigger) {
	s.comeBack(addr)
	if len(s.left) == maxLeavers {
		s.left = slices.Delete(s.left, 0, 1)
	}
	s.left = append(s.left, leaver{addr: addr, until: s.now.Add(refuseFor), epoch: s.leftAt(addr, next, why), at: s.now})
}

// leftAt is the epoch at which a server was the primary that is left for another: who announced it,
// or selected the other, has told it, though most may not have heard of it yet. Their reports of it
// say nothing new when they come. One that has gone wrong may tell any epoch: so it is the next one
// at most, and before that of the other, unless a move is taken back.
func (s *State) leftAt(addr string, next saying, why Trigger) int64 {
	p := s.primary
	before := why == BySelection && next.epoch == 0 || next.epoch > p.epoch+1
	told := addr == p.addr && p.told > p.epoch || slices.ContainsFunc(s.move.chosen, func(c selection) bool {
		v := s.voters.find(c.by)
		return c.addr == next.addr && v != nil && v.fresh(s.now) && s.named(v) == addr && v.report.Epoch > p.epoch
	})
	if p.owned && addr == p.addr { // a later one is invented, or of a failover that may be undone
		return p.epoch
	}
	if before && told && next.addr != p.addr {
		return p.epoch + 1
	}
	return p.epoch
}

// refuses reports whether a server was left a moment ago.
func (s *State) refuses(addr string) bool {
	l := s.leaver(addr)
	return l != nil && s.now.Before(l.until)
}

func (s *State) comeBack(addr string) {
	s.left = slices.DeleteFunc(s.left, func(l leaver) bool { return l.addr == addr })
}

// stoodBy reports whether a server has been a replica since it was the primary, as far as is known:
// before, its word that it is the primary means nothing. It may be one of before that has come
// back, and has not been demoted yet.
func (s *State) stoodBy(addr string) bool {
	return slices.ContainsFunc(s.standbys.all, func(b standby) bool { return b.addr == addr })
}

// wasReplica notes that a server says, or most sentinels see, that it is a replica.
func (s *State) wasReplica(addr string) {
	if s.stoodBy(addr) {
		return
	}
	b := &s.standbys
	if len(b.all) == maxStandbys {
		b.all = slices.Delete(b.all, 0, 1)
	}
	b.all = append(b.all, standby{addr: addr})
}

// saidReplica notes that a server has answered that it is a replica. It was one when it was asked.
func (s *State) saidReplica(a asker) {
	if !a.at.Before(s.standbys.since) {
		s.wasReplica(a.addr)
	}
}

func (s *State) noReplica(addr string) {
	s.standbys.all = slices.DeleteFunc(s.standbys.all, func(b standby) bool { return b.addr == addr })
}

// noReplicas notes that any server may be anything.
func (s *State) noReplicas() { s.standbys = standbys{since: s.now} }

// runID is that of a replica, as most sentinels tell it; empty if they do not.
func (s *State) runID(addr string) string {
	for _, by := range s.fresh() {
		for _, r := range by.report.Replicas {
			if r.Addr == addr && s.most(func(v *voter) bool { return v.sees(addr, func(o *Replica) bool { return o.RunID == r.RunID }) }) {
				return r.RunID
			}
		}
	}
	return ""
}

// replicaID is the run id of a replica, as most sentinels tell it, or have told it.
func (s *State) replicaID(addr string) string {
	if id := s.runID(addr); id != "" {
		return id
	}
	if i := slices.IndexFunc(s.standbys.all, func(b standby) bool { return b.addr == addr }); i >= 0 {
		return s.standbys.all[i].id
	}
	return ""
}

// note notes what the sentinels tell of a server that has been a replica. A later epoch is a
// failover's, whose first word must not make a doubted one of it, with those who lagged once.
func (s *State) note(b *standby) {
	b.id = cmp.Or(b.id, s.runID(b.addr))
	for _, v := range s.fresh() {
		if s.named(v) == b.addr && v.report.Epoch <= s.primary.epoch && !slices.Contains(b.namedBy, v.addr) {
			b.namedBy = append(b.namedBy, v.addr)
		}
	}
}

// wasNamed reports whether most who vote have called a server the primary since it is known as a
// replica, if not all at once: an operator may have given it the name for a moment.
func (s *State) wasNamed(b standby) bool {
	n := 0
	for _, v := range s.voters.all {
		if v.votes() && slices.Contains(b.namedBy, v.addr) {
			n++
		}
	}
	return s.majority(n)
}

// mostHaveLost reports whether most have lost a replica, which may come back as anything, or tell
// another run id of it. One that is promoted ends all its connections: so until the end of a
// failover those do not count that have lost it for a moment.
func (s *State) mostHaveLost(b standby) bool {
	return s.most(func(v *voter) bool {
		return v.sees(b.addr, func(r *Replica) bool {
			anew := b.id != "" && r.RunID != "" && r.RunID != b.id
			return anew || r.Down || r.Lost && (v.asked.After(s.standbys.led) || v.lostFor(b.addr, v.asked) >= disconnectedFor)
		})
	})
}

// reckonReplicas notes which servers most sentinels see replicate, and which of them have become
// the primary since, or were restarted or lost: those may come back as anything. Of one that was
// left they must have seen it since, and of all where an epoch was skipped. While most are not
// heard any server may be anything.
func (s *State) reckonReplicas() {
	if !s.majority(len(s.fresh())) {
		if len(s.standbys.all) > 0 { // else nothing is forgotten: what was asked in the meantime counts
			s.noReplicas()
		}
		return
	}
	begins := func(c selection) bool { return c.addr != s.primary.addr && s.pending(c) } // its sentinel may not be heard yet
	if slices.ContainsFunc(s.fresh(), s.replaces) || slices.ContainsFunc(s.move.chosen, begins) {
		s.standbys.led = s.now
	}
	all, n := s.standbys.all, len(s.standbys.all)
	for i := range all {
		s.note(&all[i])
	}
	all = slices.DeleteFunc(all, func(b standby) bool {
		return s.calledPrimary(b.addr) || s.wasNamed(b) || s.mostHaveLost(b)
	})
	if s.standbys.all = all; len(all) < n {
		s.standbys.since = s.now
	}
	for _, by := range s.fresh() {
		for _, r := range by.report.Replicas {
			if !r.Usable || r.Addr == s.primary.addr || s.stoodBy(r.Addr) {
				continue
			}
			l := s.leaver(r.Addr)
			if s.most(func(v *voter) bool {
				return v.asked.After(later(s.awoke, s.standbys.since)) && (l == nil || v.asked.After(l.at)) && v.sees(r.Addr, func(r *Replica) bool { return r.Usable })
			}) {
				s.wasReplica(r.Addr)
			}
		}
	}
}

// skip notes the present primary's epoch, before it is taken, if there was another one since the
// last: a server that was a replica may have been the primary meanwhile, and left.
func (s *State) skip(epoch int64) {
	if s.primary.last != "" && epoch > s.primary.epoch+1 {
		s.noReplicas()
	}
}
