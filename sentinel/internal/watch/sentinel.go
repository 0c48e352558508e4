// Package watch hears the sentinels' reports on primaries and, where there are none, asks the
// servers. It decides nothing.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// leastPatience is how long a sentinel may take to answer before it is taken for hung, at
	// least. It has as long as three times what the connect took if that is more, which was a round
	// trip at least.
	leastPatience = 300 * time.Millisecond
	// retryCap bounds the time between two dials of a sentinel that is down: a failover may begin
	// as soon as it is back.
	retryCap = 200 * time.Millisecond
	// neverReached bounds the same for a sentinel that has not answered yet: its address may be
	// wrong.
	neverReached = 2 * time.Second
	// pushSilence is after how long a subscription must show that it lives.
	pushSilence = 500 * time.Millisecond
)

// Config names the primaries to watch, and the receivers of reports.
type Config struct {
	// Names are the primaries to ask for.
	Names       []string
	DialTimeout time.Duration
	Log         *slog.Logger
	// Spawn runs a goroutine of the client's, and Post hands work to its one goroutine that
	// decides: each reports whether it will be done. Heard and Pushed are called there.
	Spawn, Post func(work func()) bool
	// Heard is told the end of each poll: an answer or, with an error, only when it was asked.
	// Pushed is told each event of a sentinel.
	Heard  func(*Answer, error)
	Pushed func(Push)
}

// Sentinel hears one sentinel: it polls on one connection and is subscribed on another.
type Sentinel struct {
	Config

	addr      string
	connector *access.Connector
	wake      signals.Waker // asks for a poll now
	alive     signals.Waker // tells the subscription that polls succeed again
	warned    sync.Map      // what the log has of rights that are missing
	missed    atomic.Bool   // a subscription was made, and no poll has succeeded since
}

// NewSentinel returns one that hears the sentinel at an address.
func NewSentinel(c Config, addr string, through *access.Connector) *Sentinel {
	return &Sentinel{Config: c, addr: addr, connector: through, wake: signals.NewWaker(), alive: signals.NewWaker()}
}

// Start begins to hear it, until ctx ends.
func (w *Sentinel) Start(ctx context.Context) {
	w.Spawn(func() { w.poll(ctx) })
	w.Spawn(func() { w.listen(ctx) })
}

// retry is how long to wait after the given number of failures, at most limit.
func retry(attempt int, limit time.Duration) time.Duration {
	return backoff.Exponential{Base: 50 * time.Millisecond, Cap: limit, Factor: 2}.Delay(attempt)
}

// Poke asks for a poll now.
func (w *Sentinel) Poke() { w.wake.Wake() }

// poll asks every second, and when it is poked.
func (w *Sentinel) poll(ctx context.Context) {
	var at contact
	defer at.close()
	limit := neverReached
	for attempt := 0; ; {
		asked := time.Now()
		answer, err := w.pollOnce(ctx, &at)
		if ctx.Err() != nil {
			return
		}
		pause := follow.PollInterval
		if err != nil {
			answer, pause = &Answer{Asked: asked}, retry(attempt, limit)
			attempt++
		} else {
			attempt, limit = 0, retryCap
			w.alive.Wake()
		}
		w.Post(func() { w.Heard(answer, err) })
		if !signals.Sleep(ctx, pause, w.wake) {
			return
		}
	}
}

// Answer is one sentinel's answer to a poll.
type Answer struct {
	// ID is its run id; its address if it does not tell that.
	ID    string
	Asked time.Time
	// Missed is set in the first answer since a subscription was made: there may have been events
	// before.
	Missed bool
	// Reports has those of the names that it knows, and Unknown why it does not know others.
	Reports map[string]*follow.Report
	Unknown map[string]error
}

// contact is the connection that a watcher polls on. The zero value is none yet.
type contact struct {
	conn     *wire.Conn
	id       string        // of the sentinel
	patience time.Duration // for each question
}

func (at *contact) close() {
	if at.conn != nil {
		_ = at.conn.Close()
		at.conn = nil
	}
}

// pollOnce asks for all names. A connection that failed is closed, and opened anew next time.
func (w *Sentinel) pollOnce(ctx context.Context, at *contact) (*Answer, error) {
	if at.conn == nil {
		began := time.Now()
		fresh, err := w.connector.Connect(ctx, w.addr, wire.Options{})
		if err != nil {
			return nil, err
		}
		at.conn, at.patience = fresh, max(leastPatience, 3*time.Since(began))
		at.id = w.identify(ctx, at)
	}
	missed := w.missed.Swap(false)
	answer, err := w.askAll(ctx, at)
	if err != nil {
		at.close()
		w.missed.CompareAndSwap(false, missed)
		return nil, err
	}
	answer.Missed = missed
	return answer, nil
}

func (w *Sentinel) askAll(ctx context.Context, at *contact) (*Answer, error) {
	answer := &Answer{ID: at.id, Asked: time.Now(), Reports: make(map[string]*follow.Report), Unknown: make(map[string]error)}
	for _, name := range w.Names {
		r, err := w.askFor(ctx, at, name)
		switch {
		case err == nil:
			answer.Reports[name] = r
		case errors.Is(err, outcome.ErrUnknownPrimary):
			answer.Unknown[name] = err
		default:
			return nil, err
		}
	}
	return answer, nil
}

// askFor asks for one name, and explains an error reply.
func (w *Sentinel) askFor(ctx context.Context, at *contact, name string) (*follow.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, at.patience)
	defer cancel()
	r, err := ask(ctx, at.conn, name)
	if err != nil {
		return nil, w.explain(ctx, at.conn, name, err)
	}
	return r, nil
}

// identify asks for the sentinel's run id. Those before redis 6.2 do not tell, and are known by
// their address.
func (w *Sentinel) identify(ctx context.Context, at *contact) string {
	ctx, cancel := context.WithTimeout(ctx, at.patience)
	defer cancel()
	var id string
	err := at.conn.Do(ctx, radix.Cmd(&id, "SENTINEL", "MYID"))
	if access.RefusesRights(err) {
		w.warn("sentinel does not tell its id: it counts only if New was given it", access.Permit(w.connector.UserOf(at.conn), err, "sentinel|myid"))
	}
	if err != nil || id == "" {
		return w.addr
	}
	return id
}

// warn tells the log, once, what comes of a right that is missing.
func (w *Sentinel) warn(what string, err error) {
	if _, told := w.warned.LoadOrStore(what, true); !told {
		w.Log.Warn(what, "sentinel", w.addr, observe.Cause(err))
	}
}

// lacking are the rights that the user does not have, and that all depends on.
func (w *Sentinel) lacking(ctx context.Context, conn *wire.Conn, name string) (rights []string) {
	for _, subcommand := range []string{"MASTER", "REPLICAS", "SENTINELS"} {
		if err := conn.Do(ctx, radix.Cmd(nil, "SENTINEL", subcommand, name)); access.RefusesRights(err) {
			rights = append(rights, "sentinel|"+strings.ToLower(subcommand))
		}
	}
	return rights
}

// explain adds the meaning of an error reply.
func (w *Sentinel) explain(ctx context.Context, conn *wire.Conn, name string, err error) error {
	text, replied := wire.ErrorReply(err)
	switch {
	case !replied:
		return err
	case access.RefusesRights(err):
		return fmt.Errorf("%w: %w", outcome.ErrSentinelAuth, access.Permit(w.connector.UserOf(conn), err, access.Needed(w.lacking(ctx, conn, name), err)...))
	case access.RefusesCredentials(err):
		return fmt.Errorf("%w: %w", outcome.ErrSentinelAuth, err)
	case strings.Contains(text, "unknown command"):
		return fmt.Errorf("%w: %s answers as a redis server: give the addresses of sentinels, usually port 26379", outcome.ErrNotSentinel, w.addr)
	case strings.Contains(text, "No such master"):
		return fmt.Errorf("%w: %q: the sentinel at %s knows %s", outcome.ErrUnknownPrimary, name, w.addr, knownPrimaries(ctx, conn))
	}
	return err
}

func knownPrimaries(ctx context.Context, conn *wire.Conn) string {
	var all []map[string]string
	if err := conn.Do(ctx, radix.Cmd(&all, "SENTINEL", "MASTERS")); err != nil {
		return "others"
	}
	var names []string
	for _, fields := range all {
		names = append(names, fmt.Sprintf("%q", fields["name"]))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// listen stays subscribed.
func (w *Sentinel) listen(ctx context.Context) {
	limit := neverReached
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := w.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > follow.PollInterval {
			attempt, limit = 0, retryCap
		}
		w.Log.Debug("sentinel subscription lost", "sentinel", w.addr, observe.Cause(err))
		if access.RefusesRights(err) {
			limit = neverReached
			w.warn("sentinel sends no events: failovers are noticed up to a second late, and writes of that time are lost", err)
		}
		if !signals.Sleep(ctx, retry(attempt, limit), w.alive) {
			return
		}
	}
}

func (w *Sentinel) listenOnce(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 2*w.DialTimeout) // to connect, and to be confirmed
	defer cancel()
	sub, err := w.connector.Subscribe(limited, w.addr, pushSilence, pushChannels(), nil)
	if err != nil {
		return err
	}
	var once sync.Once
	closeSub := func() { once.Do(func() { _ = sub.Close() }) }
	defer context.AfterFunc(ctx, closeSub)()
	defer closeSub()
	w.missed.Store(true)
	w.Poke()
	for {
		m, err := sub.Next()
		if err != nil {
			return err
		}
		if p, ok := ParsePush(m.Channel, string(m.Payload)); ok {
			w.Post(func() { w.Pushed(p) })
		}
	}
}
