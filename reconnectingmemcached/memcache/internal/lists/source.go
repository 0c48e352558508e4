package lists

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/adoption"
)

const (
	// listTime bounds one question to the source.
	listTime = 5 * time.Second
	// maxServers bounds a list, lest a source that has gone wrong has them all dialled.
	maxServers = 1000
)

// Start begins to follow the source; nil is none.
func (l *Lists) Start() {
	if l == nil {
		return
	}
	l.fleet.Spawn(l.follow)
	if l.options.HandOver >= 0 {
		l.fleet.Spawn(l.followHistory)
	}
}

// follow asks the source for as long as the client lives.
func (l *Lists) follow() {
	for first := true; ; first = false {
		l.ask()
		if first {
			close(l.first)
		}
		if !backoff.Pause(l.fleet.Ctx, l.nextAsk()) {
			return
		}
	}
}

// nextAsk is until the next question: short while an answer is awaited again, or none was there
// yet.
func (l *Lists) nextAsk() time.Duration {
	interval := l.options.Interval
	if l.now.Load() == nil || l.judge.Awaits() && !l.judge.Doubts() {
		return min(interval, adoption.Settling)
	}
	return interval - interval/10 + time.Duration(rand.Int64N(int64(interval)/5+1)) //nolint:gosec // chance, not secrecy.
}

func (l *Lists) ask() {
	names, err := l.gather()
	verdict := adoption.Same
	if err != nil {
		l.judge.Fail()
	} else {
		verdict = l.judge.Hear(time.Duration(l.fleet.Now()), l.ordered(names))
	}
	switch verdict {
	case adoption.Awaited:
		l.learn(l.announce(names, l.presentNow(names)))
	case adoption.Adopted:
		l.adopt(names, l.announce(names, l.rosterNamed(names)))
	case adoption.Same:
	}
	l.note(names, verdict, err)
	l.letGo()
}

// gather is a valid answer of the source, which is the caller's code.
func (l *Lists) gather() ([]string, error) {
	ctx, cancel := context.WithTimeout(l.fleet.Ctx, listTime)
	defer cancel()
	names, err := observe.Sound("memcache: Source", func() ([]string, error) { return l.options.Source.List(ctx) })
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, errors.New("memcache: the source names no server")
	case len(names) > maxServers:
		return nil, fmt.Errorf("memcache: the source names %d servers: at most %d are used", len(names), maxServers)
	}
	for _, name := range names {
		if err := addresses.Validate(name); err != nil {
			return nil, err
		}
	}
	return slices.Clone(names), nil
}

func (l *Lists) note(names []string, verdict adoption.Verdict, err error) {
	l.mu.Lock()
	before := l.stats.Err
	l.stats.Err = err
	switch {
	case err != nil:
		l.stats.Failures++
	case verdict == adoption.Adopted:
		l.stats.Changes, l.stats.Servers, l.stats.Since = l.stats.Changes+1, names, time.Now()
	case verdict == adoption.Awaited:
		l.stats.Awaited++
	default:
		l.same++
	}
	l.mu.Unlock()
	switch {
	case verdict == adoption.Adopted:
		l.fleet.Log.Info("memcached servers listed", "servers", len(names))
	case err != nil && before == nil:
		l.fleet.Log.Warn("memcached servers stay as they are: the source's answer is of no use", observe.Cause(err))
	}
}
