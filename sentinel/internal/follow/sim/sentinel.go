package sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// sentinel is a model of one.
type sentinel struct {
	world      *World
	addr       string
	id         string
	alive      bool
	cut        bool          // the client does not hear it
	deaf       bool          // its pushes are lost
	slow       time.Duration // until when it answers no question, and none fails
	rogue      bool
	primary    *server
	epoch      int64
	midway     bool
	switchedAt time.Duration // when it named its primary
	seed       bool
	victim     *sentinel     // a rogue's: whose id it takes
	idol       *server       // a rogue's: whom it announces and selects, without end
	insists    bool          // a rogue: it leads a failover, as it says, without end
	heard      bool          // it has told the client something
	names      bool          // it tells names of servers, not addresses
	blank      time.Duration // until when it knows neither replicas nor others
	ignorant   time.Duration // until when it does not know the primary's name
	peers      []follow.Peer // what it tells
	peersOf    int           // when that was found out
}

// call is how it calls a server.
func (s *sentinel) call(x *server) string {
	if s.names {
		return x.name
	}
	return x.addr
}

// others are the other sentinels, as it tells them.
func (s *sentinel) others() []follow.Peer {
	w := s.world
	if w.now < s.blank || w.now < w.lonely {
		return nil
	}
	if s.peers == nil || s.peersOf != w.identities {
		s.peers, s.peersOf = make([]follow.Peer, 0, 4), w.identities
		for _, x := range w.sentinels {
			if x != s {
				s.peers = append(s.peers, follow.Peer{ID: x.id, Addr: x.addr})
			}
		}
	}
	return s.peers
}

// report is what it answers.
func (s *sentinel) report() *follow.Report {
	w := s.world
	switch {
	case s.rogue:
		return s.lie()
	case w.now < s.ignorant:
		return nil
	}
	w.said = max(w.said, s.epoch)
	if s.midway {
		w.ledAt = w.now
	}
	r := &follow.Report{Addr: s.call(s.primary), RunID: s.primary.id, Epoch: s.epoch, Midway: s.midway, DownAfter: downAfter, Peers: s.others()}
	if w.now < s.blank {
		return r
	}
	r.Replicas = make([]follow.Replica, 0, len(w.servers))
	for _, x := range w.servers {
		if x != s.primary && !x.evil && !x.disowned {
			connected := x.alive && w.now >= x.killedUntil
			r.Replicas = append(r.Replicas, follow.Replica{
				Addr: s.call(x), RunID: x.id, Usable: connected && !x.primary, Lost: !connected, Down: !x.alive && w.now-x.diedAt >= downAfter,
			})
		}
	}
	return r
}

// lie makes something up.
func (s *sentinel) lie() *follow.Report {
	w := s.world
	r := &follow.Report{
		Addr: w.servers[w.rng.IntN(len(w.servers))].addr, RunID: w.servers[w.rng.IntN(len(w.servers))].id,
		Epoch: w.epoch + w.rng.Int64N(5) - 1, Midway: w.chance(30), DownAfter: w.between(0, time.Hour),
	}
	if w.chance(10) {
		r.Epoch = 1 << 40
	}
	if s.idol != nil {
		s.epoch++
		r.Addr, r.RunID, r.Epoch, r.Midway = s.idol.addr, s.idol.id, 100+s.epoch, false
	}
	if s.insists {
		r.Addr, r.RunID, r.Epoch, r.Midway = w.truth.addr, w.truth.id, w.epoch, true
	}
	r.Replicas = make([]follow.Replica, 0, 3*len(w.servers))
	for _, x := range w.servers {
		if x.addr != r.Addr && w.chance(80) {
			one := follow.Replica{Addr: x.addr, RunID: w.servers[w.rng.IntN(len(w.servers))].id, Usable: w.chance(50), Lost: w.chance(20)}
			for range s.often() {
				r.Replicas = append(r.Replicas, one)
			}
		}
	}
	r.Peers = make([]follow.Peer, 0, 8)
	for _, x := range w.sentinels {
		if x != s && w.chance(80) {
			r.Peers = append(r.Peers, follow.Peer{ID: x.id, Addr: x.addr})
		}
	}
	for range w.rng.IntN(4) {
		id := strconv.Itoa(w.rng.IntN(1000))
		if w.chance(30) {
			id = w.sentinels[w.rng.IntN(len(w.sentinels))].id // another's
		}
		one := follow.Peer{ID: id, Addr: "10.9.9.9:" + strconv.Itoa(1+w.rng.IntN(60000))}
		for range s.often() {
			r.Peers = append(r.Peers, one)
		}
	}
	return r
}

// often is how often a rogue says one thing.
func (s *sentinel) often() int {
	if s.world.chance(90) {
		return 1
	}
	return 2 + s.world.rng.IntN(3)
}

// babble has a rogue publish something.
func (s *sentinel) babble() {
	w := s.world
	kind := []follow.PushKind{follow.Selected, follow.Promoted, follow.Switched, follow.Aborted, follow.Other}[w.rng.IntN(5)]
	about := w.servers[w.rng.IntN(len(w.servers))]
	if i := slices.IndexFunc(w.servers, func(x *server) bool { return x.alive && !x.answers() }); i >= 0 && w.chance(50) {
		about = w.servers[i] // what hangs keeps the client longest
	}
	if s.idol != nil && kind == follow.Selected {
		about = s.idol
	}
	s.push(kind, about)
	w.after(w.between(10*time.Millisecond, 2*time.Second), s.babble)
}

// waver has a rogue select a replica and abort that, again and again.
func (s *sentinel) waver(until time.Duration) {
	w := s.world
	about := w.servers[w.rng.IntN(len(w.servers))]
	s.push(follow.Selected, about)
	w.after(10*time.Millisecond, func() {
		s.push(follow.Aborted, about)
		if w.now < until {
			w.after(10*time.Millisecond, func() { s.waver(until) })
		}
	})
}

// push publishes an event. It may come late, twice or not at all.
func (s *sentinel) push(kind follow.PushKind, about *server) {
	w := s.world
	if !s.alive || s.cut || s.deaf || w.now < s.ignorant {
		return
	}
	addr := s.call(about)
	times := 1
	if w.chance(5) && !w.client.calm {
		times = w.rng.IntN(3)
	}
	for range times {
		late := w.delay()
		if w.chance(5) && !w.client.calm {
			late += w.between(0, time.Second)
		}
		w.after(late, func() {
			w.client.step(follow.Pushed{Sentinel: s.addr, Kind: kind, Addr: addr, Text: "push"})
		})
	}
}

// downAfter is how long sentinels wait before they call a server down.
const downAfter = time.Second

// acts reports whether a sentinel takes part in failovers: an operator may have taken the name from
// it, which ends the one that it leads.
func (s *sentinel) acts() bool { return s.alive && s.world.now >= s.ignorant }

// honest are the sentinels that take part in failovers and have not gone wrong.
func (w *World) honest() []*sentinel {
	var all []*sentinel
	for _, s := range w.sentinels {
		if s.acts() && !s.rogue {
			all = append(all, s)
		}
	}
	return all
}

// rogues is how many of the members have gone wrong.
func (w *World) rogues() int {
	n := 0
	for _, s := range w.sentinels {
		if s.rogue {
			n++
		}
	}
	return n
}

// members is how many sentinels there are.
func (w *World) members() int { return len(w.sentinels) }

// watch has the sentinels look for a dead primary, all the time.
func (w *World) watch() {
	since := time.Duration(-1)
	var look func()
	look = func() {
		p := w.truth
		down := !p.alive || p.stalled()
		switch {
		case !down:
			since = -1
		case since < 0:
			since = w.now
		case w.now-since >= downAfter && w.leader == nil:
			w.failOver(false)
			since = -1
		}
		w.after(200*time.Millisecond, look)
	}
	look()
}

// setUpAnew has all sentinels forget what they know: the epochs begin anew.
func (w *World) setUpAnew() {
	if w.leader != nil {
		return
	}
	w.tell("the sentinels are set up anew")
	w.troubled(15 * time.Second) // a failover just before or after it has an epoch that means nothing to the client
	w.epoch = 0
	for _, s := range w.sentinels {
		if !s.rogue {
			s.primary, s.epoch, s.midway = w.truth, 0, false
			s.id = w.identity(s.addr)
		}
	}
	w.client.named(w.truth)
}

// monitorElsewhere has the sentinels drop the name, and take it for another server, while the old
// one goes on as a primary.
func (w *World) monitorElsewhere(to *server) {
	old := w.truth
	if w.leader != nil || to == old || to.evil || to.disowned || !to.answers() || len(w.honest())+w.rogues() < w.members() {
		return
	}
	w.tell("%s is monitored in the place of %s", to.addr, old.addr)
	if w.now-w.announcedAt < 15*time.Second {
		w.troubled(15 * time.Second) // an epoch of before means nothing any more
	}
	w.monitoredAt = w.now
	to.primary, to.of, to.left, to.givenAt, to.namedBy = true, nil, false, w.now, nil
	old.left, old.disowned = true, true
	w.truth = to
	if w.chance(50) {
		w.epoch = 0
	}
	for _, s := range w.servers {
		if s != to && s != old && !s.evil && !s.disowned {
			s.demote(to)
		}
	}
	for _, s := range w.sentinels {
		if !s.rogue {
			s.primary, s.epoch, s.midway = to, w.epoch, false
		}
	}
	w.client.named(to)
}

func (w *World) sentinel(addr string) *sentinel {
	i := slices.IndexFunc(w.sentinels, func(s *sentinel) bool { return s.addr == addr })
	if i < 0 {
		return nil
	}
	return w.sentinels[i]
}
