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

func (v *voter) votes() bool { return v.seed || v.member }

func (v *voter) says() saying { return saying{v.report.Addr, v.report.Epoch} }

func (v *voter) fresh(now time.Time) bool { return v.report != nil && now.Sub(v.asked) <= freshFor }

// overtook reports whether a later question has been answered already than one of a time.
func (v *voter) overtook(asked time.Time) bool { return v.report != nil && asked.Before(v.asked) }

// twin reports whether two are one sentinel at two addresses. One that has had another id is not:
// it may have taken this one. If they do not say the same they count as two all the same.
func (v *voter) twin(o *voter) bool { return v.id == o.id && !v.renamed && !o.renamed }

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

// noteLost notes which replicas a report calls lost that is taken in.
func (v *voter) noteLost(r *Report, asked time.Time) {
	var lost []absence
	for i := range r.Replicas {
		if addr := r.Replicas[i].Addr; r.Replicas[i].Lost && len(lost) < maxStandbys {
			lost = append(lost, absence{addr, asked.Add(-v.lostFor(addr, asked))})
		}
	}
	v.lost = lost
}

// lostFor is for how long a replica was lost at a time.
func (v *voter) lostFor(addr string, at time.Time) time.Duration {
	if i := slices.IndexFunc(v.lost, func(a absence) bool { return a.addr == addr }); i >= 0 {
		return at.Sub(v.lost[i].since)
	}
	return 0
}

// same reports whether two reports say the same.
func (r *Report) same(o *Report) bool {
	return r.Addr == o.Addr && r.RunID == o.RunID && r.Epoch == o.Epoch && r.Midway == o.Midway &&
		slices.Equal(r.Replicas, o.Replicas) && slices.Equal(r.Peers, o.Peers)
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
// has failed, or had time for it. Those that are found later hold nothing up.
func (e *electorate) settled(now time.Time) bool {
	return e.decided || e.late(now) || !slices.ContainsFunc(e.all, func(v *voter) bool { return !v.judged })
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

// given counts the sentinels that the user gave and that have a vote, and those of them that have
// been heard for a while: whom they do not name by then, they do not know.
func (e *electorate) given(now time.Time) (all, heard int) {
	for _, v := range e.all {
		if v.seed && e.lives(v, now) {
			all++
			if v.fresh(now) && now.Sub(v.since) > replacedAfter {
				heard++
			}
		}
	}
	return all, heard
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

// own reports whether v speaks for the sentinel with an id: the first to come with it does, for as
// long as it answers, because else a server that takes another's id would speak for it. An address
// that the user gave goes before one that was found, which may be the same sentinel's, unless it
// has had another id, and may have taken this one: then each speaks for itself, as do two that the
// user gave.
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

// naming is how many reports name a sentinel. Each does so once, however often it repeats itself.
func naming(reports []*voter, p Peer) (n int) {
	for _, v := range reports {
		if slices.Contains(v.report.Peers, p) {
			n++
		}
	}
	return n
}
