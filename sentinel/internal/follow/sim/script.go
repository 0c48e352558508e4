package sim

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

const (
	healAt = 8 * time.Second  // when faults end
	end    = 50 * time.Second // of a history
)

// build makes servers, sentinels and a client.
func (w *World) build() {
	n := 2 + w.rng.IntN(2)
	for i := range n {
		addr := "10.0.0." + strconv.Itoa(i+1) + ":6379"
		w.servers = append(w.servers, &server{world: w, addr: addr, name: "redis-" + strconv.Itoa(i+1) + ".example:6379", id: addr, alive: true, primary: i == 0})
	}
	w.truth = w.servers[0]
	for _, s := range w.servers[1:] {
		s.of = w.truth
	}
	w.epoch = w.rng.Int64N(3)
	calm := w.chance(20)
	rogues := 0
	members := 3 + 2*w.rng.IntN(2)
	if !calm && w.chance(50) {
		rogues = 1 + w.rng.IntN(max(members/3, 1))
	}
	var seeds []string
	for i := range members {
		addr := "10.0.1." + strconv.Itoa(i+1) + ":26379"
		s := &sentinel{world: w, addr: addr, id: "id-" + strconv.Itoa(i), alive: true, primary: w.truth, epoch: w.epoch, rogue: i < rogues}
		w.sentinels = append(w.sentinels, s)
	}
	if rogues > 0 {
		w.servers = append(w.servers, &server{world: w, addr: "10.6.6.6:6379", name: "evil.example:6379", id: "evil", alive: true, primary: true, evil: true})
	}
	given := 1 + w.rng.IntN(members)
	if rogues > 0 { // they are among those that are given, and few
		given = 3 + w.rng.IntN(members-2)
	}
	for _, s := range w.sentinels[:given] {
		s.seed = true
		seeds = append(seeds, s.addr)
	}
	newClient(w, follow.Mode(w.rng.IntN(3)), seeds).calm = calm
	w.tell("mode %d, %d servers, %d sentinels, %d given, %d rogue", w.client.mode, n, members, given, rogues)
	for _, s := range w.sentinels {
		if !s.rogue {
			continue
		}
		w.after(w.between(0, time.Second), s.babble)
		switch w.rng.IntN(6) {
		case 0:
			s.victim = w.sentinels[w.rng.IntN(len(w.sentinels))]
		case 1:
			s.idol = w.servers[1]
		}
	}
	w.watch()
}

// script chooses what goes wrong.
func (w *World) script(kind uint64) {
	w.after(healAt, w.heal)
	if w.client.calm && kind == 86 && w.client.mode != follow.FenceOnly {
		w.after(w.between(1500*time.Millisecond, 3*time.Second), w.lagBehind)
		return
	}
	if w.client.calm { // one planned failover, maybe there and back
		at := w.between(2*time.Second, 4*time.Second)
		w.after(at, func() { w.failOver(true) })
		if w.chance(50) {
			w.after(at+w.between(1500*time.Millisecond, 6*time.Second), func() { w.failOver(true) })
		}
		return
	}
	for range 1 + w.rng.IntN(6) {
		w.after(w.between(0, healAt-time.Second), w.fault)
	}
}

// fault has one thing go wrong.
func (w *World) fault() {
	s := w.servers[w.rng.IntN(len(w.servers))]
	if s.evil {
		s = w.truth
	}
	if w.chance(50) {
		s = w.truth
	}
	q := w.sentinels[w.rng.IntN(len(w.sentinels))]
	switch kind := w.rng.IntN(21); kind {
	case 0, 1:
		w.failOver(true)
	case 2:
		w.failOver(true)
		w.after(w.between(time.Second, 4*time.Second), func() { w.failOver(true) })
	case 3:
		s.die()
		w.after(w.between(10*time.Millisecond, 8*time.Second), s.restart)
	case 4:
		s.stall(w.between(50*time.Millisecond, 3*time.Second))
	case 5:
		s.cutOff(w.between(50*time.Millisecond, 4*time.Second))
	case 6:
		w.spare(q, func() { q.alive = false }, func() { q.alive = true })
	case 7:
		w.spare(q, func() { q.cut = true }, func() { q.cut = false })
	case 8:
		q.deaf = true
	case 9:
		w.setUpAnew()
	case 10, 11, 12, 14, 15:
		w.disturb(kind)
	case 13: // all sentinels are gone for a while
		for _, q := range w.sentinels {
			w.spare(q, func() { q.cut = true }, func() { q.cut = false })
		}
	default:
		w.reconfigure(q, s)
	}
}

// disturb is what goes wrong at the client.
func (w *World) disturb(kind int) {
	switch kind {
	case 10:
		w.client.loseFlow()
	case 11:
		w.alarm()
	case 12:
		w.force()
	case 14:
		w.client.swallow()
	case 15:
		w.client.pause(w.between(50*time.Millisecond, 6*time.Second))
	}
}

// reconfigure is what an operator does.
func (w *World) reconfigure(q *sentinel, s *server) {
	d := w.between(0, 3*time.Second)
	switch w.rng.IntN(6) {
	case 0: // SENTINEL RESET, at one or all
		all := w.chance(50)
		for _, x := range w.sentinels {
			if all || x == q {
				x.blank = w.now + d
			}
		}
		w.tell("sentinels forget what is about the primary for %v, all of them: %v", d, all)
		w.troubled(d + follow.PollInterval + 100*time.Millisecond) // until they were asked again
	case 1: // SENTINEL REMOVE
		w.tell("sentinel %s does not know the name for %v", q.addr, d)
		q.ignorant = w.now + d
		w.knownAt = max(w.knownAt, q.ignorant)
		if slices.ContainsFunc(w.sentinels, func(x *sentinel) bool { return x.rogue }) {
			w.troubled(d) // without it, and with one that lies, no majority agrees
		}
	case 2: // its configuration is lost, and it learns anew
		if !q.rogue {
			w.tell("sentinel %s has a new id", q.addr)
			q.id = w.identity(q.addr)
		}
	case 3: // names are announced, by one after the other
		w.tell("sentinels begin to tell names")
		w.troubled(d + 5*time.Second)
		for _, x := range w.sentinels {
			if !x.rogue {
				w.after(w.between(0, d), func() { x.names = true })
			}
		}
	case 4:
		w.monitorElsewhere(s)
	case 5:
		w.retire(s)
	}
}

// retire takes a replica out of the cluster. Once the sentinels have forgotten it, and the client
// has heard that, it is somebody else's.
func (w *World) retire(s *server) {
	replicas := 0
	for _, x := range w.servers {
		if !x.evil && !x.disowned && !x.primary {
			replicas++
		}
	}
	if s.primary || s == w.truth || w.leader != nil || replicas < 2 {
		return
	}
	w.tell("%s is taken out", s.addr)
	s.disowned = true
	at := w.now
	var give func()
	give = func() {
		if l := w.client.serving; !s.disowned || l != nil && l.to == s {
			return
		}
		switch {
		case w.named(s): // most may lag behind, and call it the primary
			at = w.now
			w.after(20*time.Millisecond, give)
			return
		case !w.client.heardSince(at):
			w.after(time.Second, give)
			return
		}
		w.tell("%s belongs to somebody else", s.addr)
		s.alive, s.primary, s.evil = true, true, true
	}
	w.after(4*time.Second, give)
}

// alarm is a script that writes to a replica.
func (w *World) alarm() {
	for i := range 200 {
		w.after(time.Duration(i)*5*time.Millisecond, func() { w.client.step(follow.Alarm{Term: w.client.term}) })
	}
}

// force is an operator who takes the primary away, and gives it back.
func (w *World) force() {
	w.client.step(follow.Force{})
	w.troubled(2 * time.Second)
	w.after(w.between(0, 2*time.Second), func() { w.client.step(follow.Reset{}) })
}

// slowDown has the sentinels answer no question for so long that what they have said before counts
// no more by the time of the next failover.
func (w *World) slowDown() {
	if w.client.calm {
		return
	}
	w.mute(w.between(4*time.Second, 6*time.Second))
	w.after(freshFor+w.between(0, time.Second), func() { w.failOver(true) })
}

// mute has the sentinels answer no question for a while, though they publish events.
func (w *World) mute(d time.Duration) {
	w.tell("the sentinels answer no question for %v", d)
	w.troubled(d)
	for _, s := range w.sentinels {
		s.slow = w.now + d
	}
}

// spare takes a sentinel away for a while. The client has to have heard it before: of those that
// never tell it anything it knows nothing.
func (w *World) spare(q *sentinel, away, back func()) {
	if !q.rogue && !q.heard && w.rogues() > 0 {
		return
	}
	w.tell("sentinel %s goes away", q.addr)
	away()
	d := w.between(100*time.Millisecond, 5*time.Second)
	w.troubled(d)
	w.after(d, func() {
		back()
		w.tell("sentinel %s is back", q.addr)
	})
}

// heal ends all faults but the rogues'.
func (w *World) heal() {
	w.tell("all is healed")
	for _, s := range w.servers {
		s.restart()
		s.stalledUntil = min(s.stalledUntil, w.now+3*time.Second)
	}
	for _, s := range w.sentinels {
		s.alive, s.cut, s.deaf, s.blank, s.ignorant = true, false, false, 0, 0
	}
	w.after(3*time.Second, w.tidy)
}

// tidy has the sentinels agree, and servers be what they say, as they do in the end.
func (w *World) tidy() {
	if w.leader != nil {
		w.after(time.Second, w.tidy)
		return
	}
	if w.well() {
		w.over = true
		return
	}
	if w.now < end-20*time.Second {
		w.after(2*time.Second, w.tidy)
	}
	for _, s := range w.sentinels {
		if !s.rogue && (s.primary != w.truth || s.epoch != w.epoch) {
			s.primary, s.epoch = w.truth, w.epoch
		}
	}
	if !w.truth.primary {
		w.tell("%s is promoted by the sentinels", w.truth.addr)
		w.truth.primary, w.truth.of = true, nil
	}
	for _, s := range w.servers {
		if s != w.truth && !s.evil {
			s.demote(w.truth)
		}
	}
}

// well reports whether all agree, and the client has found the primary: then nothing else happens.
func (w *World) well() bool {
	if !w.agreed() {
		return false
	}
	for _, s := range w.servers {
		if !s.evil && (!s.answers() || s.primary != (s == w.truth)) {
			return false
		}
	}
	return w.client.takesWrites(w.truth) && w.client.state.Phase() == follow.Up
}

// agreed reports whether all sentinels have heard of the last failover.
func (w *World) agreed() bool {
	return !slices.ContainsFunc(w.sentinels, func(s *sentinel) bool { return !s.rogue && (s.primary != w.truth || s.epoch != w.epoch) })
}

// fields shows the contents of an event or effect, without pointers.
func fields(e any) string {
	if h, ok := e.(follow.Heard); ok && h.Report != nil {
		return fmt.Sprintf("{%s %s: %s at %d, midway %v}", h.Sentinel, h.ID, h.Report.Addr, h.Report.Epoch, h.Report.Midway)
	}
	v := reflect.ValueOf(e)
	text := "{"
	for i := range v.NumField() {
		if t, ok := v.Field(i).Interface().(time.Time); ok {
			text += t.Sub(start()).String() + " "
			continue
		}
		text += fmt.Sprint(v.Field(i).Interface()) + " "
	}
	return text + "}"
}
