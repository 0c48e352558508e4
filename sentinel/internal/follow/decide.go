package follow

import "slices"

// decide compares the words of the sentinels with the state.
func (s *State) decide() {
	if s.phase == Closed || !s.voters.settled(s.now) {
		return
	}
	s.voters.decided = true
	s.identify()
	s.reckonReplicas()
	if s.phase == Forced {
		return
	}
	s.judgeReturn()
	s.judgeMove()
	s.raise()
	s.takeUp()
	s.reckonClaim()
	said, ahead := s.later(false)
	elected, majority := s.elect()
	switch {
	case ahead && s.calledPrimary(said.addr):
		s.consider(said)
		return
	case majority && s.undecided() && elected.addr != s.primary.addr && elected.epoch >= s.primary.epoch:
		s.aim(elected.addr, elected.epoch)
	}
	s.judgeClaim()
	if ahead { // a few say so, who may have gone wrong: what most say goes first
		s.consider(said)
	} else if said, ok := s.later(true); ok && s.next.addr == "" {
		s.consider(said)
	}
}

// raise notes the epoch that the sentinels give the present primary: one that has gone wrong may
// say any, so most must be as far. That one of them gives it a later one than before is its
// announcement, or that most name it at the same one, if epochs have begun anew, or at any in the
// case of those that were seen to begin anew. Where a failover has led back, those who lag name it
// as that of before, and so does who leads the one between.
func (s *State) raise() {
	reports, best, before := s.fresh(), s.primary.epoch, s.epochBefore()
	for _, v := range reports {
		epoch := v.report.Epoch
		if s.named(v) != s.primary.addr || epoch <= s.primary.epoch {
			continue
		}
		if epoch > before {
			s.confirm()
		}
		if !v.report.Midway {
			s.primary.hearsay = false
			s.primary.told = max(s.primary.told, epoch)
		}
		if epoch > best && s.most(func(o *voter) bool {
			return s.named(o) == s.primary.addr && !o.report.Midway && o.report.Epoch >= epoch
		}) {
			best = epoch
		}
	}
	s.confirmByMost(best)
	s.skip(best)
	s.primary.owned = s.primary.owned || best > s.primary.epoch
	s.primary.epoch = best
	s.concede()
}

// epochBefore is the epoch that is later where the move is announced: that of the present primary
// or, if the move leads back to it, that of the one between.
func (s *State) epochBefore() int64 {
	if l := s.leaver(s.move.from); l != nil && s.move.back {
		return max(s.primary.epoch, l.epoch)
	}
	return s.primary.epoch
}

// confirmByMost confirms a move once most call its server the primary at an epoch. Those whose
// epochs began anew may do so at any, and others by an event: that is hearsay, as one that has
// gone wrong may be most with one that has lost what it knew.
func (s *State) confirmByMost(epoch int64) {
	if s.move.from == "" {
		return
	}
	counts := epoch >= s.epochBefore()
	tells := func(v *voter) bool { return counts && s.named(v) == s.primary.addr && !v.report.Midway }
	if s.most(func(v *voter) bool { return tells(v) && v.report.Epoch >= epoch }) {
		s.confirm()
		return
	}
	var all []*voter
	for _, v := range s.voters.all {
		says := v.fresh(s.now) && tells(v) && (v.report.Epoch >= epoch || v.reborn) ||
			slices.ContainsFunc(s.move.published, func(c selection) bool { return c.by == v.addr && s.isAnnounced(c) })
		if says && v.votes() && !slices.ContainsFunc(all, v.twin) {
			all = append(all, v)
		}
	}
	if s.majority(len(all)) {
		s.primary.hearsay = true
		s.confirm()
	}
}

// concede takes a sentinel that leads a failover from a primary which is not announced yet at its
// word that this is the primary: at no later epoch, if epochs have begun anew or an operator has
// given it the name. It may have gone wrong, as who announces what others do not.
func (s *State) concede() {
	if s.move.from != "" && slices.ContainsFunc(s.move.chosen, func(c selection) bool {
		return c.addr != s.primary.addr && s.leads(c) && s.named(s.voters.find(c.by)) == s.primary.addr
	}) {
		s.primary.told = max(s.primary.told, s.primary.epoch+1)
		s.confirm()
	}
}

// reckonClaim notes the claim, and since when there is one.
func (s *State) reckonClaim() {
	claimed, ok := s.claimed()
	switch {
	case !ok || !s.allowed(claimed.addr):
		s.claim = claim{}
		return
	case s.claim.addr != claimed.addr:
		s.claim = claim{since: s.now}
	}
	s.claim.tally = claimed
}

// claimed returns the address that most who vote name at a lower epoch. At the same epoch it is
// that of a name that was monitored anew, if they do not know the primary any more, or that from
// which a few have led the client away, and at a later one if it was left for that. Who begins a
// failover from there does not take it back.
func (s *State) claimed() (tally, bool) {
	disowned, few := s.disowned(s.primary.addr), s.byFew()
	for _, t := range s.count(s.fresh(), func(v *voter) bool {
		if v.report.Midway {
			return s.claim.addr != "" && s.named(v) == s.claim.addr
		}
		named, same := s.named(v), v.report.Epoch == s.primary.epoch
		return v.report.Epoch < s.primary.epoch || same && disowned || few && named != s.primary.addr && (same || s.phase.Serves() && s.refuses(named))
	}) {
		if s.majority(t.n) {
			t.epoch = s.agreed(t.addr, s.fresh())
			return t, true
		}
	}
	return tally{}, false
}

// disowned reports whether most have a server neither as the primary nor as a replica. After a
// failover they all have the last primary as one of them.
func (s *State) disowned(addr string) bool {
	return addr != "" && s.most(func(v *voter) bool { return !s.names(v, addr) })
}

// byFew reports whether the primary was announced by a few only, at an epoch that most have not
// reached, or by an event only of a sentinel that leads the failover no more. They may have gone
// wrong, or the others have yet to hear of it.
func (s *State) byFew() bool {
	return s.primary.told > s.primary.epoch || s.primary.hearsay && !slices.ContainsFunc(s.fresh(), s.replaces)
}

// judgeClaim takes a lower epoch when most who vote agree on it: at once if most have been seen to
// begin anew, else when they have agreed and there was no primary for a while. While there is a
// primary it moves nothing, for that primary answers and says that it is one, unless they know
// nothing of it any more, or only a few have announced it and most have not followed them in time.
func (s *State) judgeClaim() {
	claimed := s.claim
	if claimed.addr == "" {
		return
	}
	disowned, since := s.disowned(s.primary.addr), claimed.since
	if !s.phase.Serves() && s.primary.since.After(since) {
		since = s.primary.since
	}
	due := since.Add(s.config.ResetTimeout)
	few := s.phase == Up && !disowned && s.byFew() && claimed.addr != s.primary.addr
	if few {
		if s.primary.since.After(since) {
			since = s.primary.since
		}
		due = since.Add(max(heardWithin, s.config.ResetTimeout))
	}
	if (few || !s.provenAnew()) && s.now.Before(due) {
		s.claim.due = due
		return
	}
	moves := claimed.addr != s.primary.addr
	if moves && !s.undecided() && !disowned && !few {
		return
	}
	for _, v := range s.fresh() {
		if v.report.Epoch > claimed.epoch { // of before, by one that was not there
			v.refuted = v.says()
		}
	}
	if !few {
		s.do(Reborn{claimed.addr, claimed.epoch})
	}
	s.primary.epoch = claimed.epoch
	s.claim = claim{}
	if !moves {
		s.primary.told, s.primary.owned = claimed.epoch, true // what it was before means nothing any more
		s.confirm()
		return
	}
	s.comeBack(claimed.addr) // a server that was left, was left at an epoch that no longer means anything
	if s.undecided() {
		s.aim(claimed.addr, claimed.epoch)
	} else {
		s.consider(saying{claimed.addr, claimed.epoch})
	}
}

// provenAnew reports whether most of all sentinels that vote have been seen to begin anew.
func (s *State) provenAnew() bool { return s.most(func(v *voter) bool { return v.reborn }) }
