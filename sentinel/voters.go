package sentinel

import "time"

// Who votes: the sentinels that the user gave, and those that most of these name. Anybody can invent others, and one that has gone
// wrong would be a majority with them.

// votes tells whether what a sentinel says about the name counts.
func (s *succession) votes(w *watcher) bool { return w.seed || s.named[w] }

// lives tells whether a sentinel has answered lately. One that has not for a minute is no member of anything any more.
func (w *watcher) lives() bool { return w.up || !w.judged || time.Since(w.upAt) < forgetAfter }

// admit notes who is named by most of the sentinels that the user gave. Who is stays so while one of them still says it, or none
// answers.
func (s *succession) admit() {
	seeds, fresh := make(map[string]bool), 0
	names := make(map[string]map[string]int) // id → address → how many name it so
	for _, w := range s.director.watchers {
		if w.seed && w.lives() {
			seeds[w.id] = true
		}
	}
	for _, r := range s.reports {
		if !r.by.seed || time.Since(r.at) > freshFor {
			continue
		}
		fresh++
		for id, addr := range r.peers {
			if names[id] == nil {
				names[id] = make(map[string]int)
			}
			names[id][addr]++
		}
	}
	for _, w := range s.director.watchers {
		if w.seed || fresh == 0 {
			continue
		}
		n := names[w.id][w.addr]
		if 2*n > len(seeds) || s.named[w] && n > 0 {
			s.named[w] = true
			continue
		}
		delete(s.named, w)
	}
}

// votersUp is how many of those who vote answer, electorate how many there are.
func (s *succession) votersUp() int {
	ids := make(map[string]bool)
	for _, w := range s.director.watchers {
		if w.up && s.votes(w) {
			ids[w.id] = true
		}
	}
	return len(ids)
}

func (s *succession) electorate() int {
	ids := make(map[string]bool)
	for _, w := range s.director.watchers {
		if w.lives() && s.votes(w) {
			ids[w.id] = true
		}
	}
	return len(ids)
}

// disown forgets that w speaks for the sentinel whose id it had.
func (d *director) disown(w *watcher) {
	if d.owners[w.id] == w {
		delete(d.owners, w.id)
	}
}

// owns tells whether w speaks for the sentinel with this id: the first to come with it does, for as long as it answers, because else
// whoever takes another's id would speak for it. An address that the user gave goes before one that was found.
func (d *director) owns(w *watcher, id string) bool {
	owner := d.owners[id]
	lives := owner != nil && owner.up && owner.id == id && d.watchers[owner.addr] == owner
	if lives && owner != w && (owner.seed || !w.seed) {
		return false
	}
	d.owners[id] = w
	return true
}
