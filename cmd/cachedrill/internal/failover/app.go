package failover

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

const (
	fillers = 16
	// keyOverhead is roughly a server's memory for a key besides its name and value, in bytes.
	keyOverhead = 100
)

// app is an application that reads popular keys, and writes keys that it never writes twice. It is
// safe for concurrent use, Arrive excepted.
type app struct {
	options  drill.Options
	prefix   string
	client   *client
	recorder *workload.Recorder
	ledger   *ledger
	value    string
	ttl      string // in seconds
	stored   int    // of the popular keys, the most popular first
	written  int    // the number of writes so far; owned by Arrive
}

func newApp(o drill.Options, side string, c *client, r *workload.Recorder) *app {
	return &app{
		options: o, prefix: fmt.Sprintf("%s%s:%s", workload.Prefix, o.Run, side[:1]), client: c, recorder: r, ledger: &ledger{},
		value: strings.Repeat("v", o.ValueSize), ttl: fmt.Sprint(int(o.TTL / time.Second)),
	}
}

func (a *app) readKey(rank int) string { return fmt.Sprintf("%s:r:%d", a.prefix, rank) }

func (a *app) writeKey(number int) string { return fmt.Sprintf("%s:w:%d", a.prefix, number) }

func (a *app) set(key string) radix.Action { return radix.Cmd(nil, "SET", key, a.value, "EX", a.ttl) }

// keys returns all keys that the application may have written.
func (a *app) keys() []string {
	var keys []string
	for rank := range a.stored {
		keys = append(keys, a.readKey(rank))
	}
	for number := range a.written {
		keys = append(keys, a.writeKey(number))
	}
	return keys
}

// fill stores the popular keys, as many as half of the side's budget allows. They are acknowledged
// writes like others.
func (a *app) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ranks := make(chan int)
	var workers sync.WaitGroup
	for range fillers {
		workers.Go(func() {
			for rank := range ranks {
				if err := workload.Persistently(ctx, func() error { return a.write(ctx, a.readKey(rank)) }); err != nil {
					cancel(err)
				}
			}
		})
	}
	reserve := int64(0)
	if a.options.Budget != nil {
		reserve = a.options.Budget.Load() / 2
	}
	for rank := 0; rank < a.options.Keys && ctx.Err() == nil; rank++ {
		if a.options.Budget != nil && a.options.Budget.Load() <= reserve {
			break
		}
		a.afford(a.readKey(rank))
		ranks <- rank
		a.stored = rank + 1
	}
	close(ranks)
	workers.Wait()
	return context.Cause(ctx)
}

// afford takes the cost of a key off the budget, and reports whether that was enough.
func (a *app) afford(key string) bool {
	size := int64(len(key) + a.options.ValueSize + keyOverhead)
	return a.options.Budget == nil || a.options.Budget.Add(-size) >= 0
}

// write stores a key and notes it if the client says that it is done.
func (a *app) write(ctx context.Context, key string) error {
	err := a.client.do(ctx, a.set(key))
	if err == nil {
		a.ledger.acknowledged(key, a.client.primary())
	}
	return err
}

// Arrive numbers the writes. Once the budget is spent all arrivals are reads.
func (a *app) Arrive(r *workload.Arrival) {
	if r.Update = r.Update && a.afford(a.writeKey(a.written)); r.Update {
		r.Key = a.written
		a.written++
	}
}

// GiveUp counts a request whose caller has left.
func (a *app) GiveUp(r workload.Arrival) {
	a.count(r, drill.Patience, context.DeadlineExceeded)
}

// Serve carries an arrival out.
func (a *app) Serve(ctx context.Context, r workload.Arrival) {
	if time.Since(r.At) > drill.Patience {
		a.GiveUp(r)
		return
	}
	limited, cancel := context.WithTimeout(ctx, a.options.Timeout)
	defer cancel()
	var err error
	if r.Update {
		err = a.write(limited, a.writeKey(r.Key))
	} else {
		err = a.client.do(limited, radix.Cmd(nil, "GET", a.readKey(r.Key)))
	}
	if ctx.Err() == nil { // what ends because the drill was stopped says nothing
		a.count(r, time.Since(r.At), err)
	}
}

func (a *app) count(r workload.Arrival, latency time.Duration, err error) {
	a.recorder.Count(r.Phase, func(t *workload.Tally) {
		t.Latency.Add(latency)
		ended := &t.Reads
		if r.Update {
			ended = &t.Writes
		}
		*ended++
		if r.Update && err == nil {
			t.Acknowledged++
		}
		if err != nil || latency > drill.Patience {
			t.Errors++
			t.Unanswered++
		}
	})
}
