package follow

import (
	"slices"
	"time"
)

// Who votes: the sentinels that the user gave, and those that most of these name. Anybody can invent others, and one that has gone wrong
// would be a majority with them.

// maxVoters bounds the sentinels that are watched: even most of the seeds may be made to name thousands.
const maxVoters = 64

// voter is a sentinel.
type voter struct {
	addr    string
	id      string // its run id; its address until that is known
	seed    bool   // the user gave it
	member  bool   // most seeds name it
	up      bool   // its last poll succeeded
	judged  bool   // it has been polled once at least
	upAt    time.Time
	namedAt time.Time
	asked   time.Time // when the question was sent that report answers
	report  *Report   // nil: it has none that counts
	said    int64     // the last epoch that it gave
	reborn  bool      // it has begun its epochs anew, and has not caught up since
	refuted saying    // what was tried in vain, or outvoted, and is still said
}

// saying is who a report says is primary.
type saying struct {
	addr  string
	epoch int64
}

func (v *voter) says() saying { return saying{v.report.Addr, v.report.Epoch} }

func (v *voter) votes() bool { return v.seed || v.member }

// lives tells whether a sentinel has answered lately. One that has not for a minute is no member of anything any more.
func (v *voter) lives(now time.Time) bool { return v.up || !v.judged || now.Sub(v.upAt) < forgetAfter }

// electorate is all sentinels that are known, in the order in which they became so.
type electorate struct {
	all        []*voter
	owners     map[string]*voter // by run id: who speaks for it
	firstUntil time.Time         // until when the first decision waits; zero: no longer, or nobody was heard yet
	heard      bool
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

// settled tells whether enough is known for the first decision: each sentinel has been heard or has failed, or had time for it.
func (e *electorate) settled(now time.Time) bool {
	if e.heard && !now.Before(e.firstUntil) {
		return true
	}
	for _, v := range e.all {
		if !v.judged {
			return false
		}
	}
	return true
}

// wait reports, once, that the wait for the first decision is over.
func (e *electorate) wait(now time.Time) bool {
	if !e.firstUntil.IsZero() && !now.Before(e.firstUntil) {
		e.firstUntil = time.Time{}
		return true
	}
	return false
}

// count is how many who vote live, and how many of them answer. A sentinel that is reached at two addresses counts once.
func (e *electorate) count(now time.Time) (electors, up int) {
	for i, v := range e.all {
		if !v.votes() || !v.lives(now) || slices.ContainsFunc(e.all[:i], func(o *voter) bool { return o.id == v.id && o.votes() && o.lives(now) }) {
			continue
		}
		electors++
		if slices.ContainsFunc(e.all[i:], func(o *voter) bool { return o.id == v.id && o.votes() && o.up }) {
			up++
		}
	}
	return electors, up
}

// own tells whether v speaks for the sentinel with an id: the first to come with it does, for as long as it answers, because else whoever
// takes another's id would speak for it. An address that the user gave goes before one that was found.
func (e *electorate) own(v *voter, id string) bool {
	if e.owners == nil {
		e.owners = make(map[string]*voter)
	}
	owner := e.owners[id]
	if owner != nil && owner != v && owner.up && owner.id == id && (owner.seed || !v.seed) {
		return false
	}
	if owner != nil && owner != v {
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

// admit has the sentinels watched that most of the seeds that live name, and notes that they vote. Who votes does so while one seed still
// says it, or none answers.
func (s *State) admit() {
	e, now := &s.voters, s.now
	seeds, fresh := 0, 0
	var named []Peer
	for i, v := range e.all {
		if v.seed && v.lives(now) && !slices.ContainsFunc(e.all[:i], func(o *voter) bool { return o.seed && o.id == v.id && o.lives(now) }) {
			seeds++
		}
		if v.seed && v.fresh(now) {
			fresh++
			named = append(named, v.report.Peers...)
		}
	}
	if fresh == 0 {
		return
	}
	for _, v := range e.all {
		if !v.seed {
			n := times(named, Peer{v.id, v.addr})
			v.member = 2*n > seeds || v.member && n > 0
			if n > 0 {
				v.namedAt = now
			}
		}
	}
	for i, p := range named {
		known := slices.ContainsFunc(e.all, func(v *voter) bool { return v.id == p.ID || v.addr == p.Addr })
		if !known && len(e.all) < maxVoters && 2*times(named[i:], p) > seeds {
			e.add(p.Addr, now)
			s.do(Watch{p.Addr})
		}
	}
}

func times(all []Peer, p Peer) (n int) {
	for _, other := range all {
		if other == p {
			n++
		}
	}
	return n
}

func (v *voter) fresh(now time.Time) bool { return v.report != nil && now.Sub(v.asked) <= freshFor }

// forget stops watching the sentinels that nobody has named for a while. Seeds are never forgotten, nor is anybody while none answers.
func (s *State) forget() {
	s.voters.all = slices.DeleteFunc(s.voters.all, func(v *voter) bool {
		gone := !v.seed && !v.member && s.now.Sub(v.namedAt) > forgetAfter
		if gone {
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
		if v := s.voters.find(e.Sentinel); v != nil {
			v.judged, v.up, v.report = true, false, nil
			s.decide()
		}
	case Pushed:
		s.pushed(e)
	}
}

func (s *State) heard(e Heard) {
	v := s.voters.find(e.Sentinel)
	if v == nil {
		return
	}
	v.judged, v.up, v.upAt = true, true, s.now
	owner := s.voters.own(v, e.ID)
	if v.id != e.ID {
		s.voters.disown(v)
		v.rename(e.ID)
		v.report = nil
	}
	if !s.voters.heard {
		s.voters.heard, s.voters.firstUntil = true, s.now.Add(firstWait)
	}
	switch {
	case e.Report == nil:
		v.report = nil
		s.primary.cause = e.Err
	case owner:
		v.report, v.asked = e.Report, e.Asked
		v.notice(e.Report.Epoch, s.primary.epoch)
	}
	s.admit()
	s.forget()
	s.decide()
}

// notice compares a sentinel's epoch with what it said before, and with the present one. An epoch only ever rises, but for a sentinel that
// has lost what it knew.
func (v *voter) notice(epoch, present int64) {
	if epoch < v.said {
		v.reborn = true
	}
	v.said = epoch
	if epoch >= present {
		v.reborn = false
	}
}

// rename notes a sentinel's id. Another one than before says that the sentinel was made anew, and has lost what it knew.
func (v *voter) rename(id string) {
	if v.id != v.addr && v.id != id {
		v.reborn = true
	}
	v.id = id
}
