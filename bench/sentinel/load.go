package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load says how a client is made to write.
type Load struct {
	Prefix     string // of the keys, prefix:n
	Goroutines int
	Rate       int           // writes per second, all goroutines together
	Deadline   time.Duration // of each call's context; 0 means that the context never ends
	// Impatient makes one of the goroutines repeat a failed call at once, at most this often.
	Impatient int
}

// stopLimit is how long the end of a load waits for the calls under way.
const stopLimit = 500 * time.Millisecond

// writing is a load under way.
type writing struct {
	load    Load
	client  client
	dials   *dialLog
	next    atomic.Int64
	stop    chan struct{}
	workers sync.WaitGroup
	writers []*writer

	mu    sync.Mutex
	kinds []string // guarded by mu
}

// writer is one goroutine of a load.
type writer struct {
	writing *writing
	repeat  int
	began   atomic.Int64 // of the call under way, or 0

	mu     sync.Mutex
	writes []write // guarded by mu
}

// startWriting starts the goroutines; a client that never returns from a call keeps them for ever.
//
//nolint:contextcheck // the load lasts until its ledger is asked for.
func startWriting(l Load, c client, dials *dialLog) *writing {
	w := &writing{load: l, client: c, dials: dials, stop: make(chan struct{}), kinds: []string{""}}
	every := time.Second * time.Duration(l.Goroutines) / time.Duration(l.Rate)
	for i := range l.Goroutines {
		one := &writer{writing: w}
		if i == 0 {
			one.repeat = l.Impatient
		}
		w.writers = append(w.writers, one)
		w.workers.Go(func() { one.run(every, every*time.Duration(i)/time.Duration(l.Goroutines)) })
	}
	return w
}

// run writes at a steady pace; a call that takes longer than the pace delays the next and is not
// made up for.
func (w *writer) run(every, offset time.Duration) {
	select {
	case <-w.writing.stop:
		return
	case <-time.After(offset):
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for try := 0; !w.call() && try < w.repeat; try++ {
			continue
		}
		select {
		case <-w.writing.stop:
			return
		case <-tick.C:
		}
	}
}

// call writes one key and reports whether that was acknowledged.
func (w *writer) call() bool {
	l := w.writing.load
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if l.Deadline > 0 {
		ctx, cancel = context.WithTimeout(ctx, l.Deadline)
	}
	defer cancel()
	n := int(w.writing.next.Add(1))
	key := fmt.Sprintf("%s:%d", l.Prefix, n)
	began := time.Now().UnixNano()
	w.began.Store(began)
	err := w.writing.client.Set(ctx, key, key)
	ended := time.Now().UnixNano()
	w.began.Store(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, write{N: n, Began: began, Ended: ended, Kind: w.writing.kind(err)})
	return err == nil
}

// end stops the load and returns its ledger, with the calls that are stuck.
func (w *writing) end() ledger {
	close(w.stop)
	stopped := make(chan struct{})
	go func() { w.workers.Wait(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(stopLimit):
	}
	var l ledger
	now := time.Now().UnixNano()
	for _, one := range w.writers {
		if began := one.began.Load(); began != 0 {
			l.Stuck = append(l.Stuck, time.Duration(now-began))
		}
		one.mu.Lock()
		l.Writes = append(l.Writes, one.writes...)
		one.mu.Unlock()
	}
	w.mu.Lock()
	l.Kinds = slices.Clone(w.kinds)
	w.mu.Unlock()
	l.Dials, l.Switches = w.dials.list(), -1
	if c, ok := w.client.(interface{ switches() int }); ok {
		l.Switches = c.switches()
	}
	return l
}

// kind returns the number of the error's kind.
func (w *writing) kind(err error) int {
	if err == nil {
		return 0
	}
	text := kindOf(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.kinds, text); i > 0 {
		return i
	}
	w.kinds = append(w.kinds, text)
	return len(w.kinds) - 1
}

// kindOf returns a short name of the error that is the same for all errors of a kind.
func kindOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	text := err.Error()
	if ours, ok := strings.CutPrefix(text, "sentinel: "); ok {
		kind, _, _ := strings.Cut(ours, ":")
		return kind
	}
	for _, known := range []string{
		"READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "NOREPLICAS", "connection refused", "connection reset",
		"broken pipe", "i/o timeout", "closed network connection", "EOF",
	} {
		if strings.Contains(text, known) {
			return known
		}
	}
	text = strings.Map(withoutDigits, text)
	return text[:min(len(text), 40)]
}

// withoutDigits drops what differs between errors of a kind: ports, times, numbers.
func withoutDigits(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}
