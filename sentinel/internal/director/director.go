// Package director carries out the decisions of the machine of package follow, and tells it what
// comes of that.
package director

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/replica"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/watch"
)

// Config are a Director's choices. sentinel.Options describe most of them.
type Config struct {
	// Name is the client's, and Names are those of the primaries.
	Name  string
	Names []string
	// Seeds are the sentinels given; where there are none, Surveyed are the servers.
	Seeds      []string
	Surveyed   []string
	LookupHost func(ctx context.Context, host string) (addrs []string, err error)

	Mode                                    follow.Mode
	Allow                                   []string
	DialTimeout, StallTimeout, ResetTimeout time.Duration
	// Patience is how long a server has for one question for its role.
	Patience time.Duration
	Replicas replica.Config
	// Sentinels opens connections to those given, and Strangers to those that were discovered.
	Sentinels, Strangers *access.Connector
	// Tell is told of each change, in order, on one goroutine, and must not wait.
	Tell func(Event)
}

// Director hears the sentinels and runs what follows each name. It is one goroutine, which never
// dials and never waits: what takes time is done by workers, who post their results to it.
type Director struct {
	Config
	*route.Shared

	primaries map[string]*Primary
	mail      *signals.Mailbox
	known, up atomic.Int64 // sentinels

	// Its own.
	voices    map[string]*voice // by address
	followers map[string]*follower
}

// New makes a Director, with the primaries, without starting anything but their breakers.
func New(s *route.Shared, c Config) (*Director, error) {
	d := &Director{
		Config: c, Shared: s, mail: signals.NewMailbox(), primaries: make(map[string]*Primary, len(c.Names)),
		voices: make(map[string]*voice), followers: make(map[string]*follower),
	}
	d.Seeds = slices.Clone(c.Seeds)
	if d.surveys() {
		d.Seeds = []string{watch.Surveyor}
	}
	s.Alarmed = func(name string, generation uint64) { d.followers[name].alarmed(generation) }
	labels, stripes := observe.NewLabels(0), observe.NewStripes()
	for _, name := range c.Names {
		r := route.New(s, name, observe.NewHistogram(observe.Latencies(), stripes))
		p := &Primary{Route: r, Label: labels.Take(name), Replicas: replica.New(r, c.Replicas)}
		p.Install(&route.Seat{Err: p.NoPrimary(follow.ErrStarting)})
		p.snapshot.Store(&Snapshot{View: follow.View{Since: time.Now()}, Seat: p.Seat()})
		d.primaries[name] = p
		d.followers[name] = newFollower(d, p)
		var err error
		if p.Breaker, err = d.newBreaker(p); err != nil {
			return d, err
		}
		p.Breaker.Trip(follow.ErrStarting)
	}
	return d, nil
}

// newBreaker makes the breaker of a primary.
func (d *Director) newBreaker(p *Primary) (*breaker.Breaker, error) {
	retry := backoff.Exponential{Base: 10 * time.Millisecond, Cap: 250 * time.Millisecond, Factor: 1.6}
	return breaker.New(d.Name, breaker.Options{
		Kind:          metrics.KindRedis,
		Endpoint:      p.Label,
		Probe:         p.lookedFor,
		ProbeTimeout:  d.DialTimeout,
		Backoff:       func(_ error, attempt int) time.Duration { return retry.Delay(attempt) },
		OnStateChange: func(c breaker.Change) { d.operated(p, c.To) },
	})
}

// Primary returns the one of a name; nil if it is not followed.
func (d *Director) Primary(name string) *Primary { return d.primaries[name] }

// Primaries are all, by name. The map is not changed.
func (d *Director) Primaries() map[string]*Primary { return d.primaries }

// Run hears the sentinels, until its client's context has ended.
func (d *Director) Run() { d.mail.Run(d.Context) }

// Started tells the state of a client that has just been made: whether all primaries are there,
// and whether the first try to find each is over; and why it can not work, if that is known.
func (d *Director) Started() (ready, tried bool, err error) {
	d.ask(func() { ready, tried, err = d.started() })
	return ready, tried, err
}

// Missing says which primaries are not there, and why.
func (d *Director) Missing() (err error) {
	d.ask(func() { err = d.missing() })
	return err
}

// Views are snapshots of the machines, by name.
func (d *Director) Views() map[string]follow.View {
	views := make(map[string]follow.View, len(d.followers))
	d.ask(func() {
		for name, f := range d.followers {
			views[name] = f.state.View()
		}
	})
	return views
}

// Close ends all that the director has, once cancel has ended the context of its client: whatever
// comes later finds that.
func (d *Director) Close(cancel func()) {
	d.ask(func() {
		cancel()
		for _, f := range d.followers {
			f.close()
		}
	})
}

// SentinelsUp returns how many sentinels are known, and how many of them answer.
func (d *Director) SentinelsUp() (known, up int) { return int(d.known.Load()), int(d.up.Load()) }

// ask runs a question on the director's goroutine and waits for it.
func (d *Director) ask(question func()) {
	done := make(chan struct{})
	if d.post(func() {
		question()
		close(done)
	}) {
		select {
		case <-done:
		case <-d.Context.Done():
		}
	}
}

// voice is one sentinel, or all servers if there are none.
type voice struct {
	watched
	addr   string
	cancel context.CancelFunc
	id     string // its run id; its address until that is known
	up     bool   // its last poll succeeded
	judged bool   // it has been polled once at least
	cause  error  // of the last poll that failed
}

// watched is a watch.Sentinel or a watch.Survey.
type watched interface {
	Start(ctx context.Context)
	Poke()
}

// post has work done by the director, and reports whether it will be.
func (d *Director) post(work func()) bool { return d.mail.Post(work) }

// watch starts to hear a sentinel for a follower.
//
//nolint:contextcheck // the watcher belongs to the client.
func (d *Director) watch(addr string, f *follower) {
	f.watched[addr] = true
	if d.voices[addr] != nil || d.Context.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(d.Context)
	w := &voice{addr: addr, id: addr, cancel: cancel}
	d.voices[addr] = w
	w.watched = d.newWatched(w)
	w.Start(ctx)
}

func (d *Director) newWatched(w *voice) watched {
	told := watch.Config{
		Names: d.Names, DialTimeout: d.DialTimeout, Log: d.Log, Spawn: d.Spawn, Post: d.post,
		Heard:  func(answer *watch.Answer, err error) { d.heard(w, answer, err) },
		Pushed: func(p watch.Push) { d.pushed(w, p) },
	}
	switch {
	case d.surveys():
		return watch.NewSurvey(told, d.Surveyed, d.LookupHost, d.Patience, d.Servers)
	case slices.Contains(d.Seeds, w.addr):
		return watch.NewSentinel(told, w.addr, d.Sentinels)
	}
	return watch.NewSentinel(told, w.addr, d.Strangers)
}

// unwatch ends it, if no other follower wants to hear the sentinel.
func (d *Director) unwatch(addr string, f *follower) {
	delete(f.watched, addr)
	for _, other := range d.followers {
		if other.watched[addr] {
			return
		}
	}
	if w := d.voices[addr]; w != nil {
		w.cancel()
		delete(d.voices, addr)
	}
}

// poke asks one sentinel now, or all that a follower hears.
func (d *Director) poke(addr string, f *follower) {
	if addr != "" {
		d.voices[addr].Poke()
		return
	}
	for addr := range f.watched {
		d.voices[addr].Poke()
	}
}

// heard takes in the result of a poll.
func (d *Director) heard(w *voice, answer *watch.Answer, err error) {
	if d.voices[w.addr] != w || d.Context.Err() != nil {
		return
	}
	wasUp, news := w.up, !w.judged || err != nil && (w.cause == nil || w.cause.Error() != err.Error())
	w.judged, w.up, w.cause = true, err == nil, err
	switch {
	case err == nil:
		w.id = answer.ID
		if !wasUp && !d.surveys() {
			d.Tell(Event{Kind: SentinelUp, Sentinel: w.addr})
		}
	case wasUp && !d.surveys():
		d.Tell(Event{Kind: SentinelDown, Sentinel: w.addr, Cause: err})
	}
	for name, f := range d.followers {
		switch {
		case !f.watched[w.addr]:
		case err != nil:
			f.step(follow.Unheard{Sentinel: w.addr, Asked: answer.Asked})
		default:
			f.step(follow.Heard{
				Sentinel: w.addr, ID: answer.ID, Asked: answer.Asked, Missed: answer.Missed, Report: answer.Reports[name], Err: answer.Unknown[name],
			})
		}
	}
	d.publish()
	if news { // of which no snapshot tells, and new clients ask
		d.Changed.Notify()
	}
}

// pushed takes in an event.
func (d *Director) pushed(w *voice, p watch.Push) {
	f := d.followers[p.Name]
	if f == nil || d.voices[w.addr] != w || !f.watched[w.addr] {
		return
	}
	d.Log.Debug("sentinel event", "sentinel", w.addr, "event", p.Channel, observe.Endpoint(p.Name), "addr", p.Addr)
	f.primary.failovers.pushes.Add(1)
	f.step(follow.Pushed{Sentinel: w.addr, Kind: p.Kind(), Addr: p.Addr, Text: p.Channel})
	f.publish()
}

// operated takes in that somebody forced the breaker of a primary open, or reset it.
func (d *Director) operated(p *Primary, to breaker.State) {
	d.post(func() {
		f := d.followers[p.Name]
		switch {
		case d.Context.Err() != nil:
		case to == breaker.ForcedOpen:
			f.step(follow.Force{})
			f.because(f.state.View().Cause)
		case to == breaker.Closed, to == breaker.ForcedClosed:
			forced := f.state.Phase() == follow.Forced
			f.step(follow.Reset{})
			if forced {
				f.because(f.state.View().Cause)
			}
			if err := p.Seat().Err; err != nil {
				p.Breaker.Trip(err)
			}
		}
		f.publish()
	})
}

// publish makes new snapshots.
func (d *Director) publish() {
	known, up := d.sentinelsUp()
	d.known.Store(int64(known))
	d.up.Store(int64(up))
	for _, f := range d.followers {
		f.publish()
	}
}

// surveys reports whether servers are asked, as there are no sentinels.
func (d *Director) surveys() bool { return len(d.Surveyed) > 0 }

// sentinels are those that are known.
func (d *Director) sentinels() []Sentinel {
	var all []Sentinel
	if d.surveys() {
		return nil
	}
	for _, w := range d.voices {
		all = append(all, Sentinel{Addr: w.addr, Up: w.up})
	}
	slices.SortFunc(all, func(a, b Sentinel) int { return strings.Compare(a.Addr, b.Addr) })
	return all
}

// sentinelsUp returns how many sentinels are known, and how many of them answer.
func (d *Director) sentinelsUp() (known, up int) {
	ids := make(map[string]bool)
	for _, w := range d.voices {
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
func (d *Director) startError() error {
	var failures []error
	for _, w := range d.voices {
		if w.up || !w.judged {
			failures = nil
			break
		}
		failures = append(failures, fmt.Errorf("%s: %w", w.addr, w.cause))
	}
	for _, err := range failures {
		if Permanent(err) {
			return err
		}
	}
	switch {
	case len(failures) > 0 && d.surveys():
		return fmt.Errorf("%w: %w", outcome.ErrNoPrimary, errors.Join(failures...))
	case len(failures) > 0:
		return fmt.Errorf("%w: %w", outcome.ErrNoSentinel, errors.Join(failures...))
	}
	for _, f := range d.followers {
		if v := f.state.View(); Permanent(v.Cause) && !v.Phase.Serves() && (v.Reports > 0 || v.Settled) {
			return v.Cause
		}
	}
	return nil
}

// started tells what is known of a client that has just been made: whether all primaries are there,
// and whether the first try to find each is over.
func (d *Director) started() (ready, tried bool, err error) {
	ready, tried = true, true
	for _, f := range d.followers {
		v := f.state.View()
		ready = ready && v.Phase.Serves()
		tried = tried && v.Settled && (v.Phase.Serves() || v.Cause != nil)
	}
	return ready, tried, d.startError()
}

// missing says which primaries are not there, and why.
func (d *Director) missing() error {
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
		all = append(all, fmt.Errorf("%w: %q at %s: %w", outcome.ErrNoPrimary, name, target, cause))
	}
	return errors.Join(all...)
}

// Permanent reports whether an error will stay until somebody changes a configuration.
func Permanent(err error) bool {
	for _, known := range []error{outcome.ErrSentinelAuth, outcome.ErrServerAuth, outcome.ErrNotSentinel, outcome.ErrUnknownPrimary} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
