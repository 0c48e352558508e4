package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

const (
	rolePoll   = 2 * time.Millisecond
	silent     = 20 * time.Millisecond // a time without answers that is worth noting
	roleLimit  = 2 * time.Second
	redialRest = 20 * time.Millisecond
)

// event is what a sentinel published.
type event struct {
	at               int64
	channel, payload string
}

// sighting is the first of a row of ROLE answers in which a server called itself primary.
type sighting struct {
	at   int64
	addr string
}

// silence is a time in which a server did not answer the observer.
type silence struct {
	until int64
	addr  string
	took  time.Duration
}

// observer hears all sentinels and asks all servers for their roles, on connections of its own.
type observer struct {
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu        sync.Mutex
	events    []event    // guarded by mu
	primaries []sighting // guarded by mu
	silences  []silence  // guarded by mu
	listening int        // guarded by mu; sentinels subscribed to
}

// observe starts an observer; close ends it.
//
//nolint:contextcheck // it observes until close, not as long as the call that starts it.
func observe(sentinels, servers []string) *observer {
	ctx, cancel := context.WithCancel(context.Background())
	o := &observer{cancel: cancel}
	for _, addr := range sentinels {
		o.workers.Go(func() { o.again(ctx, addr, o.listen) })
	}
	for _, addr := range servers {
		o.workers.Go(func() { o.again(ctx, addr, o.poll) })
	}
	return o
}

func (o *observer) close() {
	o.cancel()
	o.workers.Wait()
}

// again connects to addr until ctx ends.
func (o *observer) again(ctx context.Context, addr string, use func(context.Context, *redis.Conn, string)) {
	for ctx.Err() == nil {
		if conn, err := redis.Dial(ctx, addr, ""); err == nil {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			use(ctx, conn, addr)
			stop()
			_ = conn.Close()
		}
		_ = pause(ctx, redialRest)
	}
}

func (o *observer) listen(ctx context.Context, conn *redis.Conn, _ string) {
	if _, err := conn.Do(ctx, "PSUBSCRIBE", "*"); err != nil {
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return
	}
	o.count(1)
	defer o.count(-1)
	for {
		message, err := conn.Receive()
		if err != nil {
			return
		}
		if words := texts(message); len(words) == 4 {
			o.hear(event{time.Now().UnixNano(), words[2], words[3]})
		}
	}
}

func (o *observer) count(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listening += n
}

func (o *observer) hear(e event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

func (o *observer) poll(ctx context.Context, conn *redis.Conn, addr string) {
	tick := time.NewTicker(rolePoll)
	defer tick.Stop()
	was, last := false, time.Now()
	for {
		is, err := isPrimary(conn)
		if took := time.Since(last); took > silent {
			o.miss(silence{time.Now().UnixNano(), addr, took})
		}
		if err != nil {
			return
		}
		if is && !was {
			o.see(sighting{time.Now().UnixNano(), addr})
		}
		was, last = is, time.Now()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func isPrimary(conn *redis.Conn) (bool, error) {
	if err := conn.SetDeadline(time.Now().Add(roleLimit)); err != nil {
		return false, err
	}
	if err := conn.Send("ROLE"); err != nil {
		return false, err
	}
	reply, err := conn.Receive()
	return slices.Contains(texts(reply), "master"), err
}

func (o *observer) see(s sighting) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.primaries = append(o.primaries, s)
}

func (o *observer) miss(s silence) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.silences = append(o.silences, s)
}

// longestSilence returns how long one of the servers was silent at most between the two moments.
func (o *observer) longestSilence(from, to int64, addrs ...string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	longest := time.Duration(0)
	for _, s := range o.silences {
		if s.until >= from && s.until <= to && slices.Contains(addrs, s.addr) {
			longest = max(longest, s.took)
		}
	}
	return longest
}

// ready reports whether all n sentinels are being heard.
func (o *observer) ready(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.listening == n
}

// promotion returns when, after since, a server other than old first called itself primary, and
// which; 0 if none has.
func (o *observer) promotion(since int64, old string) (at int64, addr string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.primaries {
		if s.at >= since && s.addr != old {
			return s.at, s.addr
		}
	}
	return 0, ""
}

// first returns when a sentinel first published on the channel after since; 0 if none has.
func (o *observer) first(channel string, since int64) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.at >= since && e.channel == channel {
			return e.at
		}
	}
	return 0
}

// pause waits for d, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// await asks every few milliseconds until the answer is yes, at most for limit, and returns the
// last answer.
func await(ctx context.Context, limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if done() {
			return true
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			break
		}
	}
	return done()
}
