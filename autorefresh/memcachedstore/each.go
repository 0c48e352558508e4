package memcachedstore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// atOnce is how many calls for one key each are under way for one call of the store: the client
// sends together what comes together.
const atOnce = 16

// each runs work for 0 to n-1, and returns the failures. Some of it runs on goroutines of
// its own, where a panic of the client's selector, or of another function that the caller gave it,
// would end the process.
func each(n int, work func(i int) error) error {
	var next atomic.Int64
	var failed failures
	run := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			failed.safely(work, i)
		}
	}
	var helpers sync.WaitGroup
	for range min(n, atOnce) - 1 {
		helpers.Go(run)
	}
	run()
	helpers.Wait()
	return failed.joined()
}

// safely adds what comes of a piece of work: a panic, and the end of its goroutine, are failures.
func (f *failures) safely(work func(i int) error, i int) {
	err := errEnded
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("memcachedstore: a function that was given to the client panicked: %v", p)
		}
		f.add(err)
	}()
	err = work(i)
}

// errEnded is the error of work that did not return.
var errEnded = errors.New("memcachedstore: a function that was given to the client ended its goroutine")

// failures are the errors of many calls, one for each server.
type failures struct {
	mu       sync.Mutex
	byServer map[string]error // guarded by mu
	refused  error            // guarded by mu
}

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if errors.Is(err, autorefresh.ErrRefused) {
		f.refused = err
		return
	}
	if f.byServer == nil {
		f.byServer = make(map[string]error)
	}
	var down *memcache.ServerDownError
	if errors.As(err, &down) {
		f.byServer[down.Addr] = err
	} else {
		f.byServer[""] = err
	}
}

// err joins the failures. That something was refused counts only if all servers are up.
func (f *failures) joined() error {
	if len(f.byServer) == 0 {
		return f.refused
	}
	return errors.Join(slices.Collect(maps.Values(f.byServer))...)
}

// join joins errors as failures does.
func join(errs ...error) error {
	var failed failures
	for _, err := range errs {
		failed.add(err)
	}
	return failed.joined()
}
