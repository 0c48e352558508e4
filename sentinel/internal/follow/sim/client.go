package sim

import (
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

const (
	heartbeat   = 300 * time.Millisecond
	dialTimeout = time.Second
	pollTimeout = 300 * time.Millisecond // of a question to a sentinel
)

var (
	errRefused = errors.New("connection refused")
	errTimeout = errors.New("i/o timeout")
	errEOF     = errors.New("EOF")
	errUnknown = errors.New("no such master")
)

// connection is a link as the network sees it.
type connection struct {
	number follow.Link
	to     *server
	id     string // the process that was dialled: another one knows nothing of it
	open   bool   // the state was told that it is there
	asked  bool
	heard  bool          // some sentinel had been heard of late when it was dialled
	saidAt time.Duration // when it said last that it is the primary
	dead   bool          // bytes sent on it are swallowed
}

// stay is a time that something lasted: from when on, later by what the client was stopped for
// since it began.
type stay struct{ began, from, to time.Duration }

// selected is the server that a sentinel has selected or announced, and not given up since, when
// that was heard, and whether the state knew it by then.
type selected struct {
	addr  string
	known bool
	at    time.Duration
}

// client is a model of the shell that carries out the state's effects.
type client struct {
	world   *World
	state   *follow.State
	mode    follow.Mode
	links   map[follow.Link]*connection
	watched map[string]bool
	polling map[string]bool // a poll now is under way
	tick    func()
	calm    bool // nothing else goes wrong in this history

	serving  *connection // of commands, or of those that are kept
	term     follow.Link
	beatsAt  time.Duration // when the heartbeat was connected
	refused  bool          // commands are
	fenced   bool
	fencedAt time.Duration
	raisedAt time.Duration  // the same, however long the client was stopped since
	why      follow.Trigger // it last moved
	swaps    int            // how often it has moved, the first time among them
	latest   int            // the latest promotion that it has followed
	during   *failover      // the one that was under way the first time, as its leader told
	toldAt   time.Duration  // when it last moved, or a sentinel announced that move
	movedAt  time.Duration  // when it last moved, returns to the same server apart
	held     bool

	pausedUntil time.Duration            // until when it stands still, as a process that is stopped does
	late        []follow.Event           // what has come meanwhile
	heardAt     map[string]time.Duration // by sentinel: when the question was sent that it answered last
	unheardAt   map[string]time.Duration // and when one has failed last
	lastHeard   time.Duration            // the latest of these, that of the present event among them
	chose       map[string]selected      // by sentinel
	midway      map[string]time.Duration // by sentinel: when it said last that it leads a failover

	keptAt      time.Duration // when commands were refused, and those under way kept
	fences      []stay        // of failovers that did not happen
	foundAt     time.Duration // when a server that is asked beside that of the commands said that it is the primary
	questions   int
	questionsAt time.Duration
	dials       int
	dialsAt     time.Duration
	seen        map[[2]follow.Phase]int
}

func newClient(w *World, mode follow.Mode, seeds []string) *client {
	c := &client{
		world: w, mode: mode, links: make(map[follow.Link]*connection), watched: make(map[string]bool), polling: make(map[string]bool), refused: true, seen: make(map[[2]follow.Phase]int),
		heardAt: make(map[string]time.Duration), unheardAt: make(map[string]time.Duration), lastHeard: -time.Minute, chose: make(map[string]selected), midway: make(map[string]time.Duration),
	}
	state, effects := follow.NewState(w.time(), follow.Config{
		Mode: mode, Seeds: seeds, RepairTimeout: heartbeat, ResetTimeout: 2 * time.Second,
	})
	c.state = state
	c.tick = func() { c.step(follow.Tick{}) }
	w.client = c
	c.run(effects)
	return c
}

func (c *client) step(e follow.Event) {
	w, before := c.world, c.state.Phase()
	if c.paused() {
		c.late = append(c.late, e)
		return
	}
	if h, ok := e.(follow.Heard); ok && h.Report != nil {
		c.lastHeard = max(c.lastHeard, h.Asked.Sub(start()))
	}
	effects := c.state.Step(w.time(), e)
	after := c.state.Phase()
	if w.tellTale {
		if _, tick := e.(follow.Tick); !tick {
			w.tell("%T%v", e, fields(e))
		}
		if before != after {
			w.tell("    %v → %v", before, after)
		}
	}
	if before != after {
		c.seen[[2]follow.Phase{before, after}]++
	}
	c.run(effects)
	c.took(e, effects)
}

func (c *client) run(effects []follow.Effect) {
	w := c.world
	for _, e := range effects {
		if c.world.tellTale {
			switch e.(type) {
			case follow.Wake, follow.Ask, follow.Poll:
			default:
				c.world.tell("    %T%v", e, fields(e))
			}
		}
		switch e := e.(type) {
		case follow.Watch:
			c.watch(e.Sentinel)
		case follow.Unwatch:
			delete(c.watched, e.Sentinel)
		case follow.Poll:
			if e.Sentinel == "" {
				c.countQuestion()
			}
			c.pollNow(e.Sentinel)
		case follow.Wake:
			w.wakeAt(max(e.At.Sub(w.time()), 0))
		case follow.Dial:
			c.dial(e)
		case follow.Ask:
			c.ask(e.Link)
		case follow.End:
			delete(c.links, e.Link)
		case follow.Question:
			c.question()
		case follow.Strayed:
			w.fail("from %v to %v is no transition", e.From, e.To)
		default:
			c.serve(e)
		}
	}
}

// serve carries out what changes where commands go.
func (c *client) serve(e follow.Effect) {
	w := c.world
	switch e := e.(type) {
	case follow.Swap:
		c.swap(e)
	case follow.Down:
		if c.refused {
			w.fail("commands are refused twice")
		}
		c.refused, c.fenced, c.held, c.keptAt = true, false, false, w.now
		if !e.Keep {
			c.serving = nil
		}
	case follow.Cut:
		if !c.refused || c.serving == nil {
			w.fail("commands are cut that are not kept")
		}
		c.serving = nil
	case follow.Resume:
		if !c.refused || c.serving == nil {
			w.fail("what has not stalled resumes")
		}
		c.refused = false
	case follow.Hold:
		c.held = true
	case follow.Rejoin:
		c.rejoin(e.Link)
	case follow.Fence:
		if c.refused || c.fenced {
			w.fail("a fence while commands are refused, or a second one")
		}
		if s := w.server(e.Candidate); s == nil || s.evil {
			w.failUnlessOutnumbered("writes wait for %s, which no majority of the voters names", e.Candidate)
		}
		if l := c.serving; c.calm && w.leader == nil && l != nil && l.to == w.truth {
			w.fail("writes wait for %s, and no failover is under way from %s", e.Candidate, l.to.addr)
		}
		c.fenced, c.fencedAt, c.raisedAt = true, w.now, w.now
	case follow.Lift:
		if !c.fenced {
			w.fail("a fence is lifted that is not there")
		}
		c.fenced = false
		c.lifted()
	case follow.Confirmed:
		c.toldAt = w.now
	case follow.Reverted:
		c.reverted()
	}
}

// swap has commands go to another server.
func (c *client) swap(e follow.Swap) {
	w := c.world
	l := c.links[e.Link]
	if l == nil || !l.open {
		w.fail("a link that is not open becomes the primary's")
		return
	}
	delete(c.links, e.Link)
	c.swapped(l, e.Trigger)
	c.serving, c.term, c.refused, c.fenced, c.held, c.beatsAt = l, e.Link, false, false, false, w.now
	c.settle(l)
}

func (c *client) rejoin(number follow.Link) {
	l := c.links[number]
	if l == nil || !l.open || !c.held {
		c.world.fail("a link that is not open replaces the primary's")
		return
	}
	delete(c.links, number)
	c.serving, c.held = l, false
}

// settle posts what a heartbeat that has just begun would find.
func (c *client) settle(l *connection) {
	c.world.after(c.world.delay(), func() {
		switch {
		case c.serving != l:
		case !l.to.alive || l.to.id != l.id:
			c.step(follow.Died{Term: c.term, Err: errEOF})
		case l.to.cut || l.to.stalled():
			c.serverSilent(l.to)
		case !l.to.primary:
			c.step(follow.Died{Term: c.term, Err: follow.ErrDemoted})
		}
	})
}

// question has the heartbeat ask now.
func (c *client) question() {
	w, l, term := c.world, c.serving, c.term
	if l == nil {
		return
	}
	c.countQuestion()
	asked := w.now
	w.after(w.delay(), func() {
		if c.term == term && c.serving != nil && !c.serving.dead && l.to.answers() && l.to.primary && l.to.id == l.id {
			c.step(follow.Beat{Term: term, Connected: start().Add(c.beatsAt), Asked: start().Add(asked)})
		}
	})
}

// watch polls a sentinel every second.
func (c *client) watch(addr string) {
	if c.watched[addr] {
		c.world.fail("sentinel %s is watched twice", addr)
	}
	if c.world.sentinel(addr) == nil {
		c.world.failUnlessOutnumbered("sentinel %s is watched, which no majority of the voters names", addr)
	}
	c.watched[addr] = true
	var again func()
	again = func() {
		switch {
		case !c.watched[addr]:
		case c.paused():
			c.world.after(c.pausedUntil-c.world.now, again)
		default:
			c.poll(addr)
			c.world.after(follow.PollInterval, again)
		}
	}
	c.world.after(c.world.delay(), again)
}

func (c *client) pollNow(addr string) {
	if addr == "" {
		for _, s := range c.world.sentinels {
			if c.watched[s.addr] {
				c.pollNow(s.addr)
			}
		}
		return
	}
	if !c.polling[addr] {
		c.polling[addr] = true
		c.poll(addr)
	}
}

// poll asks a sentinel, a moment later than whatever has the client ask.
func (c *client) poll(addr string) {
	w, asked := c.world, c.world.time().Add(time.Nanosecond)
	s := w.sentinel(addr)
	if s == nil {
		return // one has invented it
	}
	if w.now < s.slow {
		w.after(s.slow-w.now, func() {
			c.polling[addr] = false
			c.step(follow.Unheard{Sentinel: addr, Asked: asked})
		})
		return
	}
	if !s.alive || s.cut {
		w.after(w.between(time.Millisecond, 300*time.Millisecond), func() {
			c.polling[addr] = false
			c.step(follow.Unheard{Sentinel: addr, Asked: asked})
		})
		return
	}
	w.after(w.delay(), func() {
		c.polling[addr] = false
		if !s.alive || s.cut {
			c.step(follow.Unheard{Sentinel: addr, Asked: asked})
			return
		}
		id := s.id
		switch {
		case s.victim != nil:
			id = s.victim.id
		case s.rogue && w.chance(10):
			id = w.sentinels[w.rng.IntN(len(w.sentinels))].id
		}
		r := s.report()
		var err error
		if r == nil {
			err = errUnknown
		}
		if c.pausedUntil-w.now > pollTimeout && w.chance(50) { // its deadline is over by then
			c.step(follow.Unheard{Sentinel: addr, Asked: asked})
			return
		}
		c.step(follow.Heard{Sentinel: addr, ID: id, Asked: asked, Report: r, Err: err})
		if n := w.identities + w.steps; n%16 == 0 {
			c.replicas()
		}
	})
}

func (c *client) dial(d follow.Dial) {
	w := c.world
	to := w.server(d.Addr)
	if to == nil || to.evil {
		w.failUnlessOutnumbered("the client dials %s, which no majority of the voters names", d.Addr)
		return
	}
	if c.dials++; w.now-c.dialsAt > time.Second {
		c.dials, c.dialsAt = 0, w.now
	}
	if c.dials > 40 {
		w.fail("more than 40 dials in a second")
	}
	l := &connection{number: d.Link, to: to, heard: c.hears()}
	if c.links[d.Link] = l; len(c.links) > linksMost {
		w.fail("more than %d connections beside that of the primary", linksMost)
	}
	switch {
	case !to.cut && to.alive:
		w.after(w.delay(), func() { c.dialled(l) })
	case to.alive:
		w.after(dialTimeout, func() { c.fail(l, errTimeout) })
	default:
		w.after(w.delay(), func() { c.fail(l, errRefused) })
	}
}

func (c *client) dialled(l *connection) {
	if c.links[l.number] != l {
		return
	}
	if !l.to.answers() { // the handshake is not answered
		c.world.after(dialTimeout, func() { c.fail(l, errTimeout) })
		return
	}
	l.open, l.id = true, l.to.id
	c.step(follow.Dialled{Link: l.number})
}

func (c *client) fail(l *connection, err error) {
	if c.links[l.number] == l {
		delete(c.links, l.number)
		c.step(follow.Failed{Link: l.number, Err: err})
	}
}

func (c *client) ask(number follow.Link) {
	l, w := c.links[number], c.world
	if l == nil || !l.open || l.asked {
		w.fail("link %d is asked, which is not open or is asked already", number)
		return
	}
	l.asked = true
	w.after(w.delay(), func() {
		l.asked = false
		switch {
		case c.links[number] != l:
		case !l.to.alive || l.to.id != l.id:
			c.fail(l, errEOF)
		case !l.to.answers():
			w.after(heartbeat, func() { c.fail(l, errTimeout) })
			l.asked = true
		default:
			if l.to.primary {
				l.saidAt = w.now
				if !c.refused {
					c.foundAt = w.now
				}
			}
			c.step(follow.Answered{Link: number, Primary: l.to.primary})
		}
	})
}
