package sentinel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// director hears the sentinels and runs what follows each name. It is one goroutine, which never dials and never waits: what takes time
// is done by workers, who post their results to it.
type director struct {
	client *Client
	mail   *mailbox
	log    *slog.Logger

	// Its own.
	seeds     []string
	watchers  map[string]*watcher // by address
	followers map[string]*follower
}

func newDirector(c *Client, seeds []string) *director {
	return &director{
		client: c, mail: newMailbox(), log: observe.Logger(c.options.Logger, c.name), seeds: slices.Clone(seeds),
		watchers: make(map[string]*watcher), followers: make(map[string]*follower),
	}
}

// post has work done by the director, and reports whether it will be.
func (d *director) post(work func()) bool { return d.mail.post(work) }

// watch starts to hear a sentinel for a follower.
//
//nolint:contextcheck // the watcher belongs to the client.
func (d *director) watch(addr string, f *follower) {
	f.watched[addr] = true
	if d.watchers[addr] != nil || d.client.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(d.client.ctx)
	through := d.client.sentinels
	if !slices.Contains(d.seeds, addr) {
		through = d.client.strangers
	}
	w := newWatcher(d.client, addr, through, cancel)
	d.watchers[addr] = w
	if d.surveys() {
		newSurvey(w).start(ctx)
		return
	}
	d.client.spawn(func() { w.poll(ctx) })
	d.client.spawn(func() { w.listen(ctx) })
}

// unwatch ends it, if no other follower wants to hear the sentinel.
func (d *director) unwatch(addr string, f *follower) {
	delete(f.watched, addr)
	for _, other := range d.followers {
		if other.watched[addr] {
			return
		}
	}
	if w := d.watchers[addr]; w != nil {
		w.cancel()
		delete(d.watchers, addr)
	}
}

// poke asks one sentinel now, or all that a follower hears.
func (d *director) poke(addr string, f *follower) {
	if addr != "" {
		d.watchers[addr].poke()
		return
	}
	for addr := range f.watched {
		d.watchers[addr].poke()
	}
}

// heard takes in the result of a poll.
func (d *director) heard(w *watcher, answer *polled, err error) {
	if d.watchers[w.addr] != w || d.client.ctx.Err() != nil {
		return
	}
	wasUp, news := w.up, !w.judged || err != nil && (w.cause == nil || w.cause.Error() != err.Error())
	w.judged, w.up, w.cause = true, err == nil, err
	switch {
	case err == nil:
		w.id = answer.id
		if !wasUp && !d.surveys() {
			d.client.announce(Event{Kind: SentinelUp, Sentinel: w.addr})
		}
	case wasUp && !d.surveys():
		d.client.announce(Event{Kind: SentinelDown, Sentinel: w.addr, Cause: err})
	}
	for name, f := range d.followers {
		switch {
		case !f.watched[w.addr]:
		case err != nil:
			f.step(follow.Unheard{Sentinel: w.addr})
		default:
			f.step(follow.Heard{Sentinel: w.addr, ID: answer.id, Asked: answer.asked, Report: answer.reports[name], Err: answer.unknown[name]})
		}
	}
	d.publish()
	if news { // of which no snapshot tells, and whoever starts asks
		d.client.changed.notify()
	}
}

// pushed takes in an event.
func (d *director) pushed(w *watcher, p push) {
	f := d.followers[p.name]
	if f == nil || d.watchers[w.addr] != w || !f.watched[w.addr] {
		return
	}
	d.log.Debug("sentinel event", "sentinel", w.addr, "event", p.channel, observe.Endpoint(p.name), "addr", p.addr)
	f.primary.metrics.pushes.Add(1)
	f.step(follow.Pushed{Sentinel: w.addr, Kind: pushKind(p.channel), Addr: p.addr, Text: p.channel})
	f.publish()
}

// alarmed takes in that a primary refused a command as one that is none does.
func (d *director) alarmed(p *primary, generation uint64) { d.followers[p.name].alarmed(generation) }

// operated takes in that somebody forced the breaker of a primary open, or reset it.
func (d *director) operated(p *primary, to breaker.State) {
	d.post(func() {
		f := d.followers[p.name]
		switch {
		case d.client.ctx.Err() != nil:
		case to == breaker.ForcedOpen:
			f.step(follow.Force{})
		case to == breaker.Closed:
			f.step(follow.Reset{})
			if err := p.seat.Load().err; err != nil {
				p.breaker.Trip(err)
			}
		}
		f.publish()
	})
}

// publish makes new snapshots.
func (d *director) publish() {
	known, up := d.sentinelsUp()
	d.client.metrics.sentinelsKnown.Store(int64(known))
	d.client.metrics.sentinelsUp.Store(int64(up))
	for _, f := range d.followers {
		f.publish()
	}
}

// surveys tells whether servers are asked, as there are no sentinels.
func (d *director) surveys() bool { return len(d.client.options.Servers) > 0 }

// sentinels are those that are known.
func (d *director) sentinels() []Sentinel {
	var all []Sentinel
	if d.surveys() {
		return nil
	}
	for _, w := range d.watchers {
		all = append(all, Sentinel{Addr: w.addr, Up: w.up})
	}
	slices.SortFunc(all, func(a, b Sentinel) int { return strings.Compare(a.Addr, b.Addr) })
	return all
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
	switch {
	case len(failures) > 0 && d.surveys():
		return fmt.Errorf("%w: %w", ErrNoPrimary, errors.Join(failures...))
	case len(failures) > 0:
		return fmt.Errorf("%w: %w", ErrNoSentinel, errors.Join(failures...))
	}
	for _, f := range d.followers {
		if v := f.state.View(); permanent(v.Cause) && !v.Phase.Serves() && (v.Reports > 0 || v.Settled) {
			return v.Cause
		}
	}
	return nil
}

// started tells what is known of a client that has just been made: whether all primaries are there, and whether the first try to find
// each is over.
func (d *director) started() (ready, tried bool, err error) {
	ready, tried = true, true
	for _, f := range d.followers {
		v := f.state.View()
		ready = ready && v.Phase.Serves()
		tried = tried && v.Settled && (v.Phase.Serves() || v.Cause != nil)
	}
	return ready, tried, d.startError()
}

// missing says which primaries are not there, and why.
func (d *director) missing() error {
	var all []error
	for name, f := range d.followers {
		v := f.state.View()
		if v.Phase.Serves() {
			continue
		}
		target, cause := "no address", v.Cause
		if v.Addr != "" {
			target = v.Addr
		}
		if cause == nil {
			cause = follow.ErrStarting
		}
		all = append(all, fmt.Errorf("%w: %q at %s: %w", ErrNoPrimary, name, target, cause))
	}
	return errors.Join(all...)
}

// close ends all that the director has. Whatever comes later finds that the client's context has ended.
func (d *director) close() {
	d.client.cancel()
	for _, f := range d.followers {
		f.close()
	}
}
