package autorefresh_test

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

type status string

const (
	notStarted status = "Not-started"
	started    status = "Started"
	completed  status = "Completed"
)

type statusItem struct {
	status status
	id     string
}

func (i *statusItem) ID() string { return i.id }

// statusService is a service that jobs run on. A job has started the first time it is asked for,
// and is completed right after.
type statusService struct{ jobs map[string]status }

func (s *statusService) get(id string) *statusItem {
	if _, ok := s.jobs[id]; !ok {
		s.jobs[id] = started
	}
	s.jobs[id] = completed
	return &statusItem{s.jobs[id], id}
}

func ExampleNewAutoRefreshCache() {
	service := &statusService{jobs: make(map[string]status)}
	sync := func(_ context.Context, item autorefresh.CacheItem) (autorefresh.CacheItem, error) {
		return service.get(item.ID()), nil
	}
	const period = time.Millisecond
	limiter := autorefresh.NewRateLimiter("ExampleRateLimiter", 10000, 1)
	cache := autorefresh.NewAutoRefreshCache(sync, limiter, period)

	ctx, cancel := context.WithCancel(context.Background())
	cache.Start(ctx)

	item1 := &statusItem{status: notStarted, id: "item1"}
	item2 := &statusItem{status: notStarted, id: "item2"}
	_, err1 := cache.GetOrCreate(item1)
	_, err2 := cache.GetOrCreate(item2)
	if err1 != nil || err2 != nil {
		fmt.Printf("unexpected error in create; err1: %v, err2: %v", err1, err2)
	}

	// Ten periods are enough; a busy machine may need more.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * period) {
		if cache.Get(item1.ID()).(*statusItem).status == completed {
			break
		}
	}
	fmt.Printf("Current status for item1 is %v", cache.Get(item1.ID()).(*statusItem).status)

	cancel()
	// Output: Current status for item1 is Completed
}
