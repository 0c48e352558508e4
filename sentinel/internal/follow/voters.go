package follow

import (
	"slices"
	"time"
)

// Who votes: the sentinels that the user gave, and those that most who vote name. Anybody can
// invent others, and one that has gone wrong would be a majority with them.

// maxVoters bounds the sentinels that are watched: even most of the seeds may be made to name
// thousands.
const maxVoters = 64

// voter is a sentinel.
type voter struct {
	addr    string
	id      string    // its run id; its address until that is known
	seed    bool      // the user gave it
	member  bool      // most who vote name it
	up      bool      // its last poll succeeded
	judged  bool      // it has been polled once at least
	gave    time.Time // when it gave its last report
	namedAt time.Time
	asked   time.Time // when the question was sent that report answers
	report  *Report   // nil: it has none that counts
	said    int64     // the last epoch that it gave
	reborn  bool      // it has begun its epochs anew, and has not caught up since
	renamed bool      // it has had another id
	refuted saying    // what was tried in vain, or outvoted, and is still said
}

// saying is who a report says is primary.
type saying struct {
	addr  string
	epoch int64
}

func (v *voter) says() saying { return saying{v.report.Addr, v.report.Epoch} }

func (v *voter) votes() bool { return v.seed || v.member }

// electorate is all sentinels that are known, in the order in which they became so.
type electorate struct {
	all        []*voter
	owners     map[string]*voter // by run id: who speaks for it
	firstUntil time.Time         // until when the first decision waits; zero: no longer, or nobody was heard yet
	heard      bool

	counted  bool     // the following are of now
	reports  []*voter // whose reports count
	electors int      // how many votes there are, those included that are not given
}

func (e *electorate) find(addr string) *voter {
	for _, v := range e.all {
		if v.addr == addr {
			return v
		}
	}
	return nil
}

func (e *electorate) add(addr string, now time.Time) *voter {
	v := &voter{addr: addr, id: addr, namedAt: now}
	e.all = append(e.all, v)
	return v
}

// settled reports whether enough is known for the first decision: each sentinel has been heard or
// has failed, or had time for it.
func (e *electorate) settled(now time.Time) bool {
	return e.late(now) || !slices.ContainsFunc(e.all, func(v *voter) bool { return !v.judged })
}

// late reports whether the time is over that sentinels had for the first decision.
func (e *electorate) late(now time.Time) bool { return e.heard && !now.Before(e.firstUntil) }

// wait reports, once, that the wait for the first decision is over.
func (e *electorate) wait(now time.Time) bool {
	if !e.firstUntil.IsZero() && !now.Before(e.firstUntil) {
		e.firstUntil = time.Time{}
		return true
	}
	return false
}

// lives reports whether a sentinel has a vote, whether it is heard at present or not: else, when
// most are away for a moment, one that has gone wrong would be most of those that are left. One
// that has told nothing for a minute is no member of anything any more.
func (e *electorate) lives(v *voter, now time.Time) bool {
	return v.votes() && (now.Sub(v.gave) < forgetAfter || v.seed && !v.judged && !e.late(now))
}

// keepVotes has those who lived at a time keep their votes until another at least.
func (e *electorate) keepVotes(at, until time.Time) {
	least := until.Add(-forgetAfter)
	for _, v := range e.all {
		if e.lives(v, at) && v.judged && v.gave.Before(least) {
			v.gave = least
		}
	}
}

// count finds out whose reports count, and how many votes there are.
func (e *electorate) count(now time.Time) {
	e.counted, e.reports = true, e.reports[:0]
	for _, v := range e.all {
		if v.votes() && v.fresh(now) && !slices.ContainsFunc(e.reports, func(o *voter) bool { return v.twin(o) && v.report.same(o.report) }) {
			e.reports = append(e.reports, v)
		}
	}
	e.electors = len(e.reports)
	for i, v := range e.all {
		if v.fresh(now) || !e.lives(v, now) {
			continue
		}
		twin := func(o *voter) bool { return v.twin(o) && e.lives(o, now) }
		if !slices.ContainsFunc(e.all[:i], twin) && !slices.ContainsFunc(e.reports, twin) {
			e.electors++
		}
	}
}

// twin reports whether two are one sentinel at two addresses. One that has had another id is not:
// it may have taken this one. If they do not say the same they count as two all the same.
func (v *voter) twin(o *voter) bool { return v.id == o.id && !v.renamed && !o.renamed }

// same reports whether two reports say the same.
func (r *Report) same(o *Report) bool {
	return r.Addr == o.Addr && r.RunID == o.RunID && r.Epoch == o.Epoch && r.Midway == o.Midway &&
		slices.Equal(r.Replicas, o.Replicas) && slices.Equal(r.Peers, o.Peers)
}

// own reports whether v speaks for the sentinel with an id: the first to come with it does, for as
// long as it answers, because else whoever takes another's id would speak for it. An address that
// the user gave goes before one that was found, which may be the same sentinel's, unless it has had
// another id, and may have taken this one: then each speaks for itself, as do two that the user
// gave.
func (e *electorate) own(v *voter, id string) bool {
	if e.owners == nil {
		e.owners = make(map[string]*voter)
	}
	owner := e.owners[id]
	lasts := owner != nil && owner != v && owner.up && owner.id == id
	switch {
	case lasts && v.seed && (owner.seed || v.renamed):
		return true
	case lasts && !v.seed:
		return owner.seed && owner.renamed
	case owner != nil && owner != v && !owner.seed:
		owner.report = nil
	}
	e.owners[id] = v
	return true
}

func (e *electorate) disown(v *voter) {
	if e.owners[v.id] == v {
		delete(e.owners, v.id)
	}
}

// admit has the sentinels watched that most who vote name, one of whom was just heard, and notes
// that they vote. Who votes does so while one still says it, or none that the user gave has a vote
// any more.
func (s *State) admit(by *voter) {
	e := &s.voters
	reports := s.fresh()
	if len(reports) == 0 {
		return
	}
	given := slices.ContainsFunc(e.all, func(v *voter) bool { return v.seed && e.lives(v, s.now) })
	changed := false
	for _, v := range e.all {
		if v.seed {
			continue
		}
		n := naming(reports, Peer{v.id, v.addr})
		member := s.majority(n) || v.member && (n > 0 || !given)
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

// naming is how many reports name a sentinel. Each does so once, however often it repeats itself.
func naming(reports []*voter, p Peer) (n int) {
	for _, v := range reports {
		if slices.Contains(v.report.Peers, p) {
			n++
		}
	}
	return n
}

func (v *voter) fresh(now time.Time) bool { return v.report != nil && now.Sub(v.asked) <= freshFor }

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

// sentinel takes in what comes from a sentinel.
func (s *State) sentinel(e Event) {
	switch e := e.(type) {
	case Heard:
		s.heard(e)
	case Unheard:
		s.unheard(e)
	case Pushed:
		s.pushed(e)
	}
}

// unheard takes in a failed poll. One that began before this process was stopped has only run out
// of time.
func (s *State) unheard(e Unheard) {
	v := s.voters.find(e.Sentinel)
	switch {
	case v == nil:
	case e.Asked.Before(s.awoke):
		s.do(Poll{Sentinel: e.Sentinel})
	default:
		v.judged, v.up, v.report, s.voters.counted = true, false, nil, false
		s.decide()
	}
}

func (s *State) heard(e Heard) {
	v := s.voters.find(e.Sentinel)
	if v == nil {
		return
	}
	v.judged, v.up = true, true
	if v.id != e.ID {
		s.voters.disown(v)
		v.rename(e.ID)
		v.report = nil
	}
	owner := s.voters.own(v, e.ID)
	if !s.voters.heard {
		s.voters.heard, s.voters.firstUntil = true, s.now.Add(firstWait)
	}
	switch {
	case e.Report == nil:
		v.report = nil
	case owner:
		v.report, v.asked, v.gave = e.Report, e.Asked, s.now
		v.notice(e.Report.Epoch, s.primary.epoch)
	}
	s.voters.counted = false
	if e.Report == nil && s.voters.settled(s.now) && len(s.fresh()) == 0 { // else others know better
		s.primary.cause = e.Err
	}
	s.admit(v)
	s.forget()
	s.decide()
}

// notice compares a sentinel's epoch with what it said before, and with the present one. An epoch
// only ever rises, but for a sentinel that has lost what it knew.
func (v *voter) notice(epoch, present int64) {
	if epoch < v.said {
		v.reborn = true
	}
	v.said = epoch
	if epoch >= present {
		v.reborn = false
	}
}

// rename notes a sentinel's id. Another one than before says that the sentinel was made anew, and
// has lost what it knew.
func (v *voter) rename(id string) {
	if v.id != v.addr && v.id != id {
		v.reborn, v.renamed = true, true
	}
	v.id = id
}
