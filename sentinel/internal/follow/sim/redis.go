package sim

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// server is a model of a redis server.
type server struct {
	world        *World
	addr         string
	name         string // another address of it
	id           string // run id
	alive        bool
	primary      bool
	of           *server // whom it replicates
	cut          bool    // what the client sends is swallowed
	stalledUntil time.Duration
	wellAt       time.Duration // when it was, or will be, heard again
	demotedAt    time.Duration
	killedUntil  time.Duration // until when sentinels have no connection to it, as it was just promoted
	givenAt      time.Duration // when an operator gave it the name
	namedBy      []string      // the sentinels that have told the client of that
	promotion    int           // the number of the one that it was promoted in last; 0: it was not
	followed     bool          // the client has been there since
	diedAt       time.Duration
	lostBy       []string // the sentinels that have told the client since that they have lost it
	downBy       []string // those that have told that it is down
	left         bool     // the sentinels have named another since it was last promoted
	evil         bool     // it is of no cluster; a client that speaks to it has been deceived
	stray        bool     // it has come back as a primary, which nobody wants
	disowned     bool     // it is of another cluster now
}

func (s *server) stalled() bool { return s.world.now < s.stalledUntil }

// answers reports whether the client hears from it.
func (s *server) answers() bool { return s.alive && !s.cut && !s.stalled() }

func (s *server) die() {
	if s.alive {
		s.world.tell("%s dies", s.addr)
		s.alive, s.diedAt, s.lostBy, s.downBy = false, s.world.now, nil, nil
		s.world.client.serverDied(s)
	}
}

// restart brings it back as what it was, with another run id.
func (s *server) restart() {
	if s.alive {
		return
	}
	w := s.world
	s.alive, s.id, s.wellAt = true, w.identity(s.addr), w.now
	if !s.primary && !w.client.calm && w.chance(20) { // its configuration was not kept
		s.primary, s.of, s.left = true, nil, true
		if w.now-s.diedAt < 2*time.Second || w.trouble > s.diedAt {
			w.troubled(12 * time.Second) // it may have gone unnoticed, and one that lies may announce it
		}
		if w.spite {
			w.after(20*time.Millisecond, func() { w.sentinels[0].push(follow.Selected, s) })
		}
		w.after(w.between(time.Second, 10*time.Second), func() {
			if s.left && s != w.truth {
				s.demote(w.truth)
			}
		})
	}
	w.tell("%s is back, a primary: %v", s.addr, s.primary)
}

func (s *server) stall(d time.Duration) {
	if !s.alive || s.stalled() {
		return
	}
	w := s.world
	w.tell("%s stalls for %v", s.addr, d)
	s.hidden(d)
	s.stalledUntil = w.now + d
	s.wellAt = max(s.wellAt, w.now+d)
	w.client.serverSilent(s)
	w.after(d, func() { w.client.serverHeard(s) })
}

// cutOff has all messages between the client and it swallowed for a while.
func (s *server) cutOff(d time.Duration) {
	if s.cut {
		return
	}
	w := s.world
	w.tell("%s is cut off from the client for %v", s.addr, d)
	s.hidden(d)
	s.cut = true
	s.wellAt = max(s.wellAt, w.now+d)
	w.client.serverSilent(s)
	w.after(d, func() {
		s.cut = false
		w.tell("%s is not cut off any more", s.addr)
		w.client.serverHeard(s)
	})
}

// hidden notes that the client may not hear from it. That it does not hear from another than the
// primary excuses nothing.
func (s *server) hidden(d time.Duration) {
	if s.primary {
		s.world.troubled(d)
	}
}

func (s *server) demote(to *server) {
	if s.alive && (s.primary || s.of != to) {
		s.world.tell("%s becomes a replica of %s", s.addr, to.addr)
		s.primary, s.of, s.demotedAt = false, to, s.world.now
		s.world.client.serverDemoted(s)
	}
}
