package sentinel

import (
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// claimFor is how long most sentinels have to agree on a lower epoch, without a proof that theirs have begun anew.
const claimFor = 2 * time.Second

// claim is what most sentinels say at a lower config-epoch than that of the primary the client knows. A single sentinel that does so
// was away. If most of them do, the epochs have begun anew: they were installed again, or the name was removed and monitored again.
type claim struct {
	addr  string
	since time.Time
}

// judgeClaim takes a lower epoch when most of all sentinels that vote agree on it: at once if most have been seen to begin anew, else
// when they have agreed and there was no primary for a while. While there is a primary it moves nothing, for that primary answers and says that it is one.
func (s *succession) judgeClaim() {
	addr, epoch, ok := s.claimed()
	if !ok || !s.allowed(addr) {
		s.claim = nil
		return
	}
	if s.claim == nil || s.claim.addr != addr {
		s.claim = &claim{addr: addr, since: time.Now()}
		time.AfterFunc(claimFor, func() { s.director.post(s.director.decideAll) })
	}
	since := s.claim.since
	if s.downSince.After(since) {
		since = s.downSince
	}
	switch {
	case !s.provenAnew() && time.Since(since) < claimFor:
		return
	case addr == s.target:
		s.epoch = epoch
	case !s.down():
		return
	default:
		delete(s.left, addr) // what was left, was left at an epoch that no longer means anything
		s.aim(addr, epoch)
	}
	for _, r := range s.fresh() {
		if r.epoch > epoch { // of before, by one that was not there
			s.refuted[r.by] = r.says()
		}
	}
	s.director.log.Warn("the sentinels' epochs begin anew", observe.Endpoint(s.primary.name), "addr", addr, "epoch", epoch)
	s.claim = nil
}

// claimed returns the address that most of all sentinels that vote name, if they do at a lower epoch.
func (s *succession) claimed() (addr string, epoch int64, ok bool) {
	votes, epochs := make(map[string]int), make(map[string]int64)
	for _, r := range s.fresh() {
		if !r.midway && r.epoch < s.epoch {
			votes[r.addr]++
			epochs[r.addr] = max(epochs[r.addr], r.epoch)
		}
	}
	for addr, n := range votes {
		if 2*n > s.electorate() {
			return addr, epochs[addr], true
		}
	}
	return "", 0, false
}

// provenAnew tells whether most of all sentinels that vote have been seen to begin anew.
func (s *succession) provenAnew() bool {
	n := 0
	for _, r := range s.fresh() {
		if r.by.reborn[s.primary.name] {
			n++
		}
	}
	return 2*n > s.electorate()
}

// notice compares a sentinel's epoch for a name with what it said before, and with the present one of the client. An epoch only ever
// rises, but for a sentinel that has lost what it knew.
func (w *watcher) notice(name string, epoch, present int64) {
	if before, known := w.said[name]; known && epoch < before {
		w.reborn[name] = true
	}
	w.said[name] = epoch
	if epoch >= present {
		delete(w.reborn, name)
	}
}

// rename notes a sentinel's id. Another one than before says that the sentinel was made anew, and has lost what it knew.
func (w *watcher) rename(id string) {
	if w.id != w.addr && w.id != id {
		for name := range w.said {
			w.reborn[name] = true
		}
	}
	w.id = id
}
