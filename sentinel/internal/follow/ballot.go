package follow

import (
	"fmt"
	"slices"
	"time"
)

// tally is how many reports name an address as the primary's, and the earliest epoch at which they
// do: the latest may be invented.
type tally struct {
	addr  string
	n     int
	epoch int64
	told  bool // there is an epoch
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
// may say any.
func (s *State) agreed(addr string, reports []*voter) int64 {
	epochs := make([]int64, 0, len(reports))
	for _, v := range reports {
		if s.named(v) == addr && !v.report.Midway {
			epochs = append(epochs, v.report.Epoch)
		}
	}
	if len(epochs) == 0 {
		return s.primary.epoch
	}
	slices.Sort(epochs)
	return epochs[max(len(epochs)-s.voters.electors/2-1, 0)]
}

// named is the address of the primary that a report names. Sentinels may call one server by several
// addresses, by IP address and by name: what has the run id of the present primary is the present
// primary, for as long as that one is reached at the address that it has.
func (s *State) named(v *voter) string {
	if s.phase != Searching && v.report.RunID != "" && v.report.RunID == s.primary.id {
		return s.primary.addr
	}
	return v.report.Addr
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

// lists reports whether a report has addr as a replica.
func (v *voter) lists(addr string) bool {
	return v.sees(addr, func(*Replica) bool { return true })
}

// sees reports whether a report has addr as a replica that is such.
func (v *voter) sees(addr string, is func(*Replica) bool) bool {
	for i := range v.report.Replicas {
		if r := &v.report.Replicas[i]; r.Addr == addr && is(r) {
			return true
		}
	}
	return false
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

// known reports whether most sentinels list addr: as a replica or, if they have not heard of the
// last failover yet, as the primary.
func (s *State) known(addr string) bool {
	return s.most(func(v *voter) bool { return s.names(v, addr) })
}

func (s *State) allowed(addr string) bool {
	return len(s.config.Allow) == 0 || slices.Contains(s.config.Allow, addr)
}

// mayFollow reports whether addr may become primary at all: most sentinels list it and, unless it
// has been a replica of late, most call it primary. The one that was just left they must call so
// anew. To others no credentials are sent.
func (s *State) mayFollow(addr string) bool {
	l := s.leaver(addr)
	left := l != nil && s.now.Before(l.until)
	if left || !s.stoodBy(addr) {
		named := func(v *voter) bool {
			return s.named(v) == addr && (!left || !v.report.Midway && v.report.Epoch > l.epoch)
		}
		if !s.most(named) {
			return false
		}
	}
	return s.allowed(addr) && s.known(addr)
}

// decide compares what the sentinels say with what is.
func (s *State) decide() {
	if s.phase == Closed || s.phase == Forced || !s.voters.settled(s.now) {
		return
	}
	s.identify()
	s.reckonReplicas()
	s.judgeReturn()
	s.judgeMove()
	s.raise()
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

// undecided reports whether the sentinels' choice is needed: there is no primary, and none that was
// moved to before its announcement has just been lost.
func (s *State) undecided() bool { return !s.phase.Serves() && s.move.from == "" }

// raise notes the epoch that the sentinels give the present primary: one that has gone wrong may
// say any, so most must be as far. That one of them gives it a later one than before is its
// announcement.
func (s *State) raise() {
	reports, best := s.fresh(), s.primary.epoch
	for _, v := range reports {
		epoch := v.report.Epoch
		if s.named(v) != s.primary.addr || epoch <= s.primary.epoch {
			continue
		}
		s.confirm()
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
	s.primary.epoch = best
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

// consider follows a report of a later epoch, once the server itself says that it is the primary.
func (s *State) consider(said saying) {
	switch {
	case s.next.addr == said.addr && s.next.state == holding:
		s.install(s.next.link, said.addr, said.epoch, ByAnnouncement)
	case s.next.addr == said.addr:
		s.next.epoch = said.epoch
	case s.next.addr == "" || s.calledPrimary(said.addr) || s.next.stuck(s.now) && !s.calledPrimary(s.next.addr):
		s.pursue(toAnnounced(said))
	} // else it is asked in its turn
}

func toAnnounced(said saying) asker {
	return asker{addr: said.addr, epoch: said.epoch, interval: announcedInterval, trigger: ByAnnouncement}
}

// calledPrimary reports whether most call addr the primary.
func (s *State) calledPrimary(addr string) bool {
	return s.most(func(v *voter) bool { return s.named(v) == addr })
}

// aim makes addr the one to try while there is no primary.
func (s *State) aim(addr string, epoch int64) {
	if !s.mayFollow(addr) {
		s.do(Doubted{})
		return
	}
	if s.next.addr == addr && s.next.state == holding {
		s.install(s.next.link, addr, epoch, ByElection)
		return
	}
	s.cut(fmt.Errorf("the sentinels name %s", addr))
	s.leaveReturn()
	s.primary.addr, s.primary.id, s.primary.epoch, s.primary.told = addr, "", epoch, 0
	s.retry()
	s.pursue(asker{addr: addr, epoch: epoch, interval: announcedInterval, trigger: ByElection})
}

// claim is what most sentinels say at a lower config-epoch than that of the primary that is known.
// A single sentinel that does so was away. If most of them do, the epochs have begun anew: they
// were installed again, or the name was removed and monitored again.
type claim struct {
	tally
	since time.Time
	due   time.Time // when it is to be judged again
}

// reckonClaim notes what is claimed, and since when.
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
// which a few have led the client away.
func (s *State) claimed() (tally, bool) {
	disowned, few := s.disowned(), s.byFew()
	for _, t := range s.count(s.fresh(), func(v *voter) bool {
		same := disowned || few && s.named(v) != s.primary.addr
		return !v.report.Midway && (v.report.Epoch < s.primary.epoch || same && v.report.Epoch == s.primary.epoch)
	}) {
		if s.majority(t.n) {
			t.epoch = s.agreed(t.addr, s.fresh())
			return t, true
		}
	}
	return tally{}, false
}

// disowned reports whether most have the primary neither as the primary nor as a replica. After a
// failover they all have it as one of them.
func (s *State) disowned() bool {
	return s.primary.addr != "" && s.most(func(v *voter) bool { return !s.names(v, s.primary.addr) })
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
	disowned, since := s.disowned(), claimed.since
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
	switch {
	case (few || !s.provenAnew()) && s.now.Before(due):
		s.claim.due = due
		return
	case claimed.addr == s.primary.addr:
	case s.undecided():
		s.comeBack(claimed.addr) // what was left, was left at an epoch that no longer means anything
		s.aim(claimed.addr, claimed.epoch)
	case disowned, few:
		s.comeBack(claimed.addr)
		s.consider(saying{claimed.addr, claimed.epoch})
	default:
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
}

// provenAnew reports whether most of all sentinels that vote have been seen to begin anew.
func (s *State) provenAnew() bool { return s.most(func(v *voter) bool { return v.reborn }) }
