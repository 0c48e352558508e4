// Package roles decides which of some servers is the primary where no sentinels say so, from what
// each says that it is. It has no clock and no connections.
//
// A promotion that was seen decides: a server that said replica and now says primary, on one
// connection. Without one, a server that says primary counts if it is the only one, and the last
// choice is away or says that it is a replica. A server that says primary beside the choice is in
// doubt: when the choice is away for a moment it does not take over; it may be one of before that
// nobody has told.
package roles

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var (
	// ErrNone is that no server says that it is the primary.
	ErrNone = errors.New("no server says that it is the primary")
	// ErrSeveral is that several have done so from the beginning, so that nobody can know which of
	// them is right.
	ErrSeveral = errors.New("several servers say that they are the primary: have all but one replicate it (REPLICAOF)")
)

// Servers are some servers, and what they say. The zero value has none.
type Servers struct {
	all    []*server
	chosen *server // nil: none yet
	epoch  int64   // how many choices there were
}

type server struct {
	addr    string
	judged  bool // it has answered, or has not in time
	answers bool
	primary bool
	linked  bool // a replica's link to its primary is up
	doubted bool // it said primary beside the choice, or was the choice before, and has not said replica since
	id      string
	twin    bool // another address leads to the same server: that one counts
}

// Answer is a server's word on itself.
type Answer struct {
	Primary, Linked bool
	ID              string // of its process: another address with the same one leads there, too; empty if it is not known
}

// Replica is a server that is not the primary.
type Replica struct {
	Addr         string
	Usable, Lost bool
}

// Verdict names the primary, and the replicas.
type Verdict struct {
	Addr     string
	Epoch    int64
	Replicas []Replica
}

func (s *Servers) find(addr string) *server {
	if i := slices.IndexFunc(s.all, func(o *server) bool { return o.addr == addr }); i >= 0 {
		return s.all[i]
	}
	return nil
}

// Add adds a server, unless it is there.
func (s *Servers) Add(addr string) {
	if s.find(addr) == nil {
		s.all = append(s.all, &server{addr: addr})
	}
}

// Remove removes a server. If it is the choice, another that says primary may be the next.
func (s *Servers) Remove(addr string) {
	gone := s.find(addr)
	s.all = slices.DeleteFunc(s.all, func(o *server) bool { return o == gone })
	if gone != nil && gone == s.chosen {
		gone.answers, gone.primary = true, false
		s.judge()
	}
}

// Hear takes in what a server says. It returns whether that is a promotion.
func (s *Servers) Hear(addr string, a Answer) (promoted bool) {
	o := s.find(addr)
	if o == nil {
		return false
	}
	twin := s.twin(o, a)
	o.id, o.twin = a.ID, twin != nil
	promoted = !o.twin && o.answers && !o.primary && a.Primary && o != s.chosen
	o.judged, o.answers, o.primary, o.linked = true, true, a.Primary, a.Linked
	o.doubted = o.doubted && a.Primary && !promoted
	if o.twin {
		o.doubted = twin.doubted
	}
	if promoted {
		s.choose(o)
		return true
	}
	s.judge()
	return false
}

// Miss takes in that a server did not answer, or that the connection to it has ended: what it says
// next may be said by another process.
func (s *Servers) Miss(addr string) {
	if o := s.find(addr); o != nil {
		o.judged, o.answers = true, false
		s.judge()
	}
}

// twin is the address that counts for the server that answers at o; nil if that is o. Two servers
// that differ in their roles are not one, whatever they call themselves.
func (s *Servers) twin(o *server, a Answer) *server {
	if a.ID == "" || o == s.chosen {
		return nil
	}
	i := slices.IndexFunc(s.all, func(other *server) bool {
		return other != o && other.answers && !other.twin && other.id == a.ID && other.primary == a.Primary
	})
	if i < 0 {
		return nil
	}
	return s.all[i]
}

// judge looks for a choice where there was no promotion.
func (s *Servers) judge() {
	primaries := s.primaries()
	switch {
	case s.chosen == nil:
		if len(primaries) == 1 && s.Settled() {
			s.choose(primaries[0])
		}
		return
	case s.chosen.answers && s.chosen.primary:
		for _, o := range primaries {
			o.doubted = o.doubted || o != s.chosen
		}
		return
	case !s.chosen.answers:
		primaries = slices.DeleteFunc(primaries, func(o *server) bool { return o.doubted })
	}
	if len(primaries) == 1 {
		s.choose(primaries[0])
	}
}

func (s *Servers) primaries() (all []*server) {
	for _, o := range s.all {
		if o.answers && o.primary && !o.twin {
			all = append(all, o)
		}
	}
	return all
}

func (s *Servers) choose(o *server) {
	if before := s.chosen; before != nil {
		before.doubted = !before.answers || before.primary
	}
	s.chosen = o
	s.epoch++
	s.judge()
}

// Verdict is the decision. The error is the reason why there is none.
func (s *Servers) Verdict() (Verdict, error) {
	if s.chosen == nil {
		primaries := s.primaries()
		if len(primaries) < 2 {
			return Verdict{}, ErrNone
		}
		var addrs []string
		for _, o := range primaries {
			addrs = append(addrs, o.addr)
		}
		return Verdict{}, fmt.Errorf("%w: %s", ErrSeveral, strings.Join(addrs, ", "))
	}
	v := Verdict{Addr: s.chosen.addr, Epoch: s.epoch}
	for _, o := range s.all {
		if o != s.chosen && !o.twin {
			v.Replicas = append(v.Replicas, Replica{Addr: o.addr, Usable: o.answers && !o.primary && o.linked, Lost: !o.answers})
		}
	}
	return v, nil
}

// Settled reports whether there is a verdict: each has answered, or has failed to, once. A server
// that is added later holds nothing up.
func (s *Servers) Settled() bool {
	return s.chosen != nil || !slices.ContainsFunc(s.all, func(o *server) bool { return !o.judged })
}

// Answers reports whether any server answers.
func (s *Servers) Answers() bool {
	return slices.ContainsFunc(s.all, func(o *server) bool { return o.answers })
}
