package sentinel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	// freshFor is how long a sentinel's report counts.
	freshFor = 3 * pollInterval
	// firstWait is how long the first decision waits for sentinels that have not been heard yet.
	firstWait = time.Second
	// maxIntroduced is how many sentinels are watched because of one that names them: what has gone wrong may name thousands.
	maxIntroduced = 32
	// forgetAfter is how long a sentinel that was discovered stays watched although nobody names it any more.
	forgetAfter = time.Minute
)

// director decides who is primary. It is one goroutine, which never dials and never waits: what takes time is done by workers, who
// post their results to it.
type director struct {
	client *Client
	mail   *mailbox
	log    *slog.Logger

	// Its own.
	watchers    map[string]*watcher // by address
	owners      map[string]*watcher // by sentinel id
	named       map[string]time.Time
	successions map[string]*succession
	firstHeard  time.Time
}

func newDirector(c *Client) *director {
	return &director{
		client: c, mail: newMailbox(), log: observe.Logger(c.options.Logger, c.name),
		watchers: make(map[string]*watcher), owners: make(map[string]*watcher), named: make(map[string]time.Time), successions: make(map[string]*succession),
	}
}

// post has work done by the director, and reports whether it will be.
func (d *director) post(work func()) bool { return d.mail.post(work) }

// watch starts to hear a sentinel, unless it is heard already.
//
//nolint:contextcheck // the watcher belongs to the client.
func (d *director) watch(addr string, seed bool) {
	if w := d.watchers[addr]; w != nil {
		w.seed = w.seed || seed
		return
	}
	ctx, cancel := context.WithCancel(d.client.ctx)
	w := newWatcher(d.client, addr, seed, cancel)
	d.watchers[addr] = w
	d.client.spawn(func() { w.poll(ctx) })
	d.client.spawn(func() { w.listen(ctx) })
}

// heard takes in the result of a poll.
func (d *director) heard(w *watcher, answer *polled, err error) {
	if d.watchers[w.addr] != w || d.client.ctx.Err() != nil {
		return
	}
	wasUp := w.up
	w.judged, w.up, w.cause = true, err == nil, err
	if err != nil {
		if wasUp {
			d.client.announce(Event{Kind: SentinelDown, Sentinel: w.addr, Cause: err})
		}
		d.dropReports(w)
		d.decideAll()
		return
	}
	w.upAt = time.Now()
	owner := d.owns(w, answer.id)
	if w.id != answer.id {
		d.dropReports(w)
		d.disown(w)
		w.rename(answer.id)
	}
	if d.firstHeard.IsZero() {
		d.firstHeard = time.Now()
		time.AfterFunc(firstWait, func() { d.post(d.decideAll) })
	}
	if !wasUp {
		d.client.announce(Event{Kind: SentinelUp, Sentinel: w.addr})
	}
	for name, r := range answer.reports {
		w.notice(name, r.epoch, d.successions[name].epoch)
		if r.by = w; owner {
			d.successions[name].reports[w.id] = r
		}
		d.discover(r)
	}
	for name, err := range answer.unknown {
		if owner {
			delete(d.successions[name].reports, w.id)
		}
		d.successions[name].cause = err
	}
	for _, s := range d.successions {
		s.admit()
	}
	d.forget()
	d.decideAll()
}

// dropReports forgets what a sentinel has said that does not answer any more.
func (d *director) dropReports(w *watcher) {
	for _, other := range d.watchers {
		if other != w && other.id == w.id && other.up {
			return // the same sentinel is reached at another address
		}
	}
	for _, s := range d.successions {
		delete(s.reports, w.id)
	}
}

// discover watches the sentinels that another one names, unless they are watched under another address.
func (d *director) discover(r *report) {
	ids, introduced := make(map[string]bool), 0
	for _, w := range d.watchers {
		ids[w.id] = true
		if w.introducedBy == r.by.addr {
			introduced++
		}
	}
	for id, addr := range r.peers {
		if d.watchers[addr] == nil && !ids[id] && introduced < maxIntroduced {
			introduced++
			d.watch(addr, false)
			d.watchers[addr].introducedBy = r.by.addr
		}
		if d.watchers[addr] != nil {
			d.named[addr] = r.at
		}
	}
}

// forget stops watching the sentinels that are down and not named any more. Those given by the user are never forgotten.
func (d *director) forget() {
	for addr, w := range d.watchers {
		if !w.seed && !w.up && w.judged && time.Since(d.named[addr]) > forgetAfter {
			w.cancel()
			delete(d.watchers, addr)
			delete(d.named, addr)
			d.disown(w)
			for _, s := range d.successions {
				delete(s.named, w)
				delete(s.refuted, w)
			}
		}
	}
}

// settled tells whether enough is known for the first decision: each sentinel has been heard or has failed, or had time for it.
func (d *director) settled() bool {
	if !d.firstHeard.IsZero() && time.Since(d.firstHeard) >= firstWait {
		return true
	}
	for _, w := range d.watchers {
		if !w.judged {
			return false
		}
	}
	return true
}

func (d *director) decideAll() {
	defer d.client.publish(d)
	if !d.settled() {
		return
	}
	for _, s := range d.successions {
		s.decide()
	}
}

// pokeAll asks all sentinels now.
func (d *director) pokeAll() {
	for _, w := range d.watchers {
		w.poke()
	}
}

// pushed takes in an event. It is a hint only: whatever it says is confirmed by polls and by the server's own word.
func (d *director) pushed(w *watcher, p push) {
	s := d.successions[p.name]
	if s == nil || d.watchers[w.addr] != w {
		return
	}
	defer w.poke()
	if !s.votes(w) { // it is asked, and no more
		return
	}
	d.log.Debug("sentinel event", "sentinel", w.addr, "event", p.channel, observe.Endpoint(p.name), "addr", p.addr)
	s.primary.metrics.pushes.Add(1)
	switch {
	case p.channel == pushSelected:
		s.selected(p.addr, w)
	case p.channel == pushPromoted:
		s.confirm(p.addr)
	case p.channel == pushSwitch:
		s.announced(p.addr, w)
	case p.aborts():
		s.aborted(p.channel)
	}
}

// alarmed takes in that a server refused a command as one that is no primary does.
func (d *director) alarmed(p *primary, generation uint64) {
	p.metrics.alarms.Add(1)
	if p.alarmPosted.CompareAndSwap(false, true) {
		d.post(func() {
			p.alarmPosted.Store(false)
			if s := d.successions[p.name]; s.primary.seat.Load().generation == generation {
				s.pulse.beatNow()
				d.pokeAll()
			}
		})
	}
}

// sentinelsUp returns how many sentinels are known, and how many of them answer.
func (d *director) sentinelsUp() (known, up int) {
	ids := make(map[string]bool)
	for _, w := range d.watchers {
		ids[w.id] = ids[w.id] || w.up
	}
	for _, isUp := range ids {
		if isUp {
			up++
		}
	}
	return len(ids), up
}

// startError is why a client that has just been made can not work; nil if it may yet.
func (d *director) startError() error {
	var failures []error
	for _, w := range d.watchers {
		if w.up || !w.judged {
			failures = nil
			break
		}
		failures = append(failures, fmt.Errorf("%s: %w", w.addr, w.cause))
	}
	for _, err := range failures {
		if permanent(err) {
			return err
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%w: %w", ErrNoSentinel, errors.Join(failures...))
	}
	for _, s := range d.successions {
		if permanent(s.cause) && s.primary.seat.Load().err != nil && (len(s.reports) > 0 || d.settled()) {
			return s.cause
		}
	}
	return nil
}

// started tells what is known of a client that has just been made: whether all primaries are there, and whether the first try to find
// each is over.
func (d *director) started() (ready, tried bool, err error) {
	ready, tried = true, d.settled()
	for _, s := range d.successions {
		down := s.primary.seat.Load().err != nil
		ready = ready && !down
		tried = tried && (!down || s.cause != nil)
	}
	return ready, tried, d.startError()
}

// missing says which primaries are not there, and why.
func (d *director) missing() error {
	var all []error
	for name, s := range d.successions {
		if s.primary.seat.Load().err == nil {
			continue
		}
		target, cause := "no address", s.cause
		if s.target != "" {
			target = s.target
		}
		if cause == nil {
			cause = errStarting
		}
		all = append(all, fmt.Errorf("%w: %q at %s: %w", ErrNoPrimary, name, target, cause))
	}
	return errors.Join(all...)
}

// close ends all that the director has. Whatever comes later finds that the client's context has ended.
func (d *director) close() {
	d.client.cancel()
	for _, s := range d.successions {
		s.close()
	}
}
