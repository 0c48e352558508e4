package sentinel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// leastPatience is how long a sentinel may take to answer before it is taken for hung, at least. It has as long as three times what the
	// connect took if that is more, which was a round trip at least.
	leastPatience = 300 * time.Millisecond
	// retryCap bounds the time between two dials of a sentinel that is down: a failover may begin as soon as it is back.
	retryCap = 200 * time.Millisecond
	// neverReached bounds the same for a sentinel that has not answered yet: its address may be wrong.
	neverReached = 2 * time.Second
	// pushSilence is after how long a subscription must show that it lives.
	pushSilence = 500 * time.Millisecond
)

// watcher hears one sentinel: it polls on one connection and is subscribed on another. What it hears goes to the director.
type watcher struct {
	client    *Client
	addr      string
	connector *connector
	cancel    context.CancelFunc
	wake      chan struct{} // asks for a poll now; capacity 1
	alive     chan struct{} // tells the subscription that polls succeed again; capacity 1
	warned    sync.Map      // what the log has of rights that are missing

	// The director's.
	id     string // its run id; its address until that is known
	up     bool   // its last poll succeeded
	judged bool   // it has been polled once at least
	cause  error  // of the last poll that failed
}

func newWatcher(c *Client, addr string, through *connector, cancel context.CancelFunc) *watcher {
	return &watcher{client: c, addr: addr, connector: through, cancel: cancel, id: addr, wake: make(chan struct{}, 1), alive: make(chan struct{}, 1)}
}

// retry is how long to wait after the given number of failures, at most limit.
func retry(attempt int, limit time.Duration) time.Duration {
	return backoff.Exponential{Base: 50 * time.Millisecond, Cap: limit, Factor: 2}.Delay(attempt)
}

// poke asks for a poll now.
func (w *watcher) poke() { signal(w.wake) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// poll asks every second, and when it is poked.
func (w *watcher) poll(ctx context.Context) {
	var at contact
	defer at.close()
	limit := neverReached
	for attempt := 0; ; {
		answer, err := w.pollOnce(ctx, &at)
		if ctx.Err() != nil {
			return
		}
		pause := follow.PollInterval
		if err != nil {
			pause = retry(attempt, limit)
			attempt++
		} else {
			attempt, limit = 0, retryCap
			signal(w.alive)
		}
		w.client.director.post(func() { w.client.director.heard(w, answer, err) })
		if !sleep(ctx, pause, w.wake) {
			return
		}
	}
}

// polled is what one sentinel says.
type polled struct {
	id      string
	asked   time.Time
	reports map[string]*follow.Report // by name
	unknown map[string]error          // the names that it does not know
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
func (w *watcher) pollOnce(ctx context.Context, at *contact) (*polled, error) {
	if at.conn == nil {
		began := time.Now()
		fresh, err := w.connector.connect(ctx, w.addr, wire.Options{})
		if err != nil {
			return nil, err
		}
		at.conn, at.patience = fresh, max(leastPatience, 3*time.Since(began))
		at.id = w.identify(ctx, at)
	}
	answer, err := w.askAll(ctx, at)
	if err != nil {
		at.close()
	}
	return answer, err
}

func (w *watcher) askAll(ctx context.Context, at *contact) (*polled, error) {
	answer := &polled{id: at.id, asked: time.Now(), reports: make(map[string]*follow.Report), unknown: make(map[string]error)}
	for _, name := range w.client.options.Names {
		r, err := w.askFor(ctx, at, name)
		switch {
		case err == nil:
			answer.reports[name] = r
		case errors.Is(err, ErrUnknownPrimary):
			answer.unknown[name] = err
		default:
			return nil, err
		}
	}
	return answer, nil
}

// askFor asks for one name, and what an error reply means.
func (w *watcher) askFor(ctx context.Context, at *contact, name string) (*follow.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, at.patience)
	defer cancel()
	r, err := ask(ctx, at.conn, name)
	if err != nil {
		return nil, w.explain(ctx, at.conn, name, err)
	}
	return r, nil
}

// identify asks for the sentinel's run id. Those before redis 6.2 do not tell, and are known by their address.
func (w *watcher) identify(ctx context.Context, at *contact) string {
	ctx, cancel := context.WithTimeout(ctx, at.patience)
	defer cancel()
	var id string
	err := at.conn.Do(ctx, radix.Cmd(&id, "SENTINEL", "MYID"))
	if refusesRights(err) {
		w.warn("sentinel does not tell its id: it counts only if New was given it", permit(w.connector.userOf(at.conn), err, "sentinel|myid"))
	}
	if err != nil || id == "" {
		return w.addr
	}
	return id
}

// warn tells the log, once, what comes of a right that is missing.
func (w *watcher) warn(what string, err error) {
	if _, told := w.warned.LoadOrStore(what, true); !told {
		w.client.director.log.Warn(what, "sentinel", w.addr, observe.Cause(err))
	}
}

// lacking are the rights that the user does not have, and that all depends on.
func (w *watcher) lacking(ctx context.Context, conn *wire.Conn, name string) (rights []string) {
	for _, subcommand := range []string{"MASTER", "REPLICAS", "SENTINELS"} {
		if err := conn.Do(ctx, radix.Cmd(nil, "SENTINEL", subcommand, name)); refusesRights(err) {
			rights = append(rights, "sentinel|"+strings.ToLower(subcommand))
		}
	}
	return rights
}

// explain finds out what an error reply means.
func (w *watcher) explain(ctx context.Context, conn *wire.Conn, name string, err error) error {
	text, replied := errorReply(err)
	switch {
	case !replied:
		return err
	case refusesRights(err):
		return fmt.Errorf("%w: %w", ErrSentinelAuth, permit(w.connector.userOf(conn), err, needed(w.lacking(ctx, conn, name), err)...))
	case refusesCredentials(err):
		return fmt.Errorf("%w: %w", ErrSentinelAuth, err)
	case strings.Contains(text, "unknown command"):
		return fmt.Errorf("%w: %s answers as a redis server: give the addresses of sentinels, usually port 26379", ErrNotSentinel, w.addr)
	case strings.Contains(text, "No such master"):
		return fmt.Errorf("%w: %q: the sentinel at %s knows %s", ErrUnknownPrimary, name, w.addr, knownPrimaries(ctx, conn))
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
func (w *watcher) listen(ctx context.Context) {
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
		w.client.director.log.Debug("sentinel subscription lost", "sentinel", w.addr, observe.Cause(err))
		if refusesRights(err) {
			limit = neverReached
			w.warn("sentinel sends no events: failovers are noticed up to a second late, and writes of that time are lost", err)
		}
		if !sleep(ctx, retry(attempt, limit), w.alive) {
			return
		}
	}
}

func (w *watcher) listenOnce(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 2*w.client.options.DialTimeout) // to connect, and to be confirmed
	defer cancel()
	sub, err := w.connector.subscribe(limited, w.addr, pushSilence, pushChannels(), nil)
	if err != nil {
		return err
	}
	var once sync.Once
	closeSub := func() { once.Do(func() { _ = sub.Close() }) }
	defer context.AfterFunc(ctx, closeSub)()
	defer closeSub()
	w.poke() // what was missed before the subscription
	for {
		m, err := sub.Next()
		if err != nil {
			return err
		}
		if p, ok := parsePush(m.Channel, string(m.Payload)); ok {
			w.client.director.post(func() { w.client.director.pushed(w, p) })
		}
	}
}

// sleep waits for the time, or until it is woken; false says that ctx has ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// permanent tells whether an error will stay until somebody changes a configuration.
func permanent(err error) bool {
	for _, known := range []error{ErrSentinelAuth, ErrServerAuth, ErrNotSentinel, ErrUnknownPrimary} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
