package follow

import "slices"

// selectionOf is the selection that an event tells.
func (s *State) selectionOf(e Pushed) selection {
	return selection{by: e.Sentinel, addr: e.Addr, at: s.now, announced: e.Kind == Switched}
}

// matches reports whether two are of one server by one sentinel.
func (c selection) matches(o selection) bool { return o.by == c.by && o.addr == c.addr }

// choose notes a selection. The last two of a sentinel count: of the failover that is under way,
// and of the next one. One that is announced was made before those that were heard.
func (m *move) choose(c selection) {
	m.chosen = slices.DeleteFunc(m.chosen, c.matches)
	by := func(o selection) bool { return o.by == c.by }
	if first := slices.IndexFunc(m.chosen, by); first >= 0 && slices.ContainsFunc(m.chosen[first+1:], by) {
		m.chosen = slices.Delete(m.chosen, first, first+1)
	}
	if c.announced {
		m.chosen = slices.Insert(m.chosen, 0, c)
		return
	}
	m.chosen = append(m.chosen, c)
}

// promotes notes that a sentinel has published the promotion of the one that it has chosen. Those
// that were chosen before it are not of the next failover for that: it keeps its place.
func (m *move) promotes(c selection) {
	c.announced = true
	m.chosen[slices.IndexFunc(m.chosen, c.matches)] = c
}

// pending reports whether a selection may still come to something.
func (s *State) pending(c selection) bool { return s.now.Sub(c.at) < confirmWithin && !s.isOver(c) }

// leads reports whether the sentinel of a selection leads a failover of the present primary: it was
// asked since, and says so.
func (s *State) leads(c selection) bool {
	return s.heardSince(c) && s.replaces(s.voters.find(c.by))
}

// heardSince reports whether the sentinel of a selection was asked since, and has answered.
func (s *State) heardSince(c selection) bool {
	v := s.voters.find(c.by)
	return v != nil && v.fresh(s.now) && !v.asked.Before(c.at)
}

// isOver reports whether the failover of a selection has ended, one way or the other: its sentinel
// was asked since, and says that none is under way.
func (s *State) isOver(c selection) bool {
	v := s.voters.find(c.by)
	return v != nil && v.fresh(s.now) && v.asked.After(c.at) && !v.report.Midway
}

// isAnnounced reports whether a sentinel has published of late that the present primary is
// announced, and has not said otherwise since.
func (s *State) isAnnounced(c selection) bool {
	return c.addr == s.primary.addr && c.announced && (s.heardSince(c) && s.named(s.voters.find(c.by)) == c.addr || !s.heardSince(c) && s.now.Sub(c.at) < confirmWithin)
}

// hasChosen reports whether the server of an event is the one that its sentinel has chosen.
func (s *State) hasChosen(e Pushed) bool {
	return slices.ContainsFunc(s.move.chosen, s.selectionOf(e).matches)
}

// hasLed reports whether a selection is of the failover that has led to the primary: its sentinel,
// which was asked since, names one that was left, and leads none from here. Where most name that
// one, a few have led here in error, and it is of the next failover.
func (s *State) hasLed(c selection) bool {
	if c.addr != s.primary.addr || !s.heardSince(c) || s.leads(c) {
		return false
	}
	from := s.named(s.voters.find(c.by))
	return s.refuses(from) && !s.calledPrimary(from)
}
