package autorefresh_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// A price list whose prices come from a slow service. Reads come from memory, and each price is at
// most a minute old while the service answers; while it does not, the last known price is served.
func Example() {
	fromService := func(_ context.Context, product string, _ int) (int, error) {
		if product == "unknown" {
			return 0, autorefresh.ErrNotFound
		}
		return len(product) * 100, nil
	}
	prices, err := autorefresh.New(fromService, autorefresh.Options[string, int]{Period: time.Minute, MaxItems: 10_000})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = prices.Close() }()

	price, err := prices.Load(context.Background(), "teapot") // the first time: from the service
	fmt.Println(price, err)
	fmt.Println(prices.Get("teapot")) // from memory, kept fresh from now on
	_, err = prices.Load(context.Background(), "unknown")
	fmt.Println(errors.Is(err, autorefresh.ErrNotFound))
	// Output:
	// 600 <nil>
	// 600 true
	// true
}

func numbers(_ context.Context, key string, old int) (int, error) { return old + len(key), nil }

func ExampleNew() {
	_, err := autorefresh.New(numbers, autorefresh.Options[string, int]{Period: -time.Second})
	fmt.Println(err)
	// Output: autorefresh: Options.Period is -1s: set a positive duration
}

func ExampleNewBatch() {
	lengths := func(_ context.Context, items []autorefresh.Item[string, int], out []autorefresh.Result[int]) error {
		for i, item := range items {
			out[i] = autorefresh.Result[int]{Value: len(item.Key)}
		}
		return nil
	}
	cache, err := autorefresh.NewBatch(lengths, autorefresh.Options[string, int]{Period: time.Minute, BatchSize: 500})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	fmt.Println(cache.LoadMulti(context.Background(), []string{"a", "bb", "ccc"}))
	// Output: map[a:1 bb:2 ccc:3] <nil>
}

func ExampleCache_GetOrCreate() {
	cache, err := autorefresh.New(numbers, autorefresh.Options[string, int]{Period: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	fmt.Println(cache.GetOrCreate("job", 1))
	fmt.Println(cache.GetOrCreate("job", 2))
	// Output:
	// 1 true <nil>
	// 1 false <nil>
}

func ExampleCache_Refresh() {
	cache, err := autorefresh.New(numbers, autorefresh.Options[string, int]{Period: time.Hour, First: autorefresh.FirstAfterPeriod})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	_, _, _ = cache.GetOrCreate("job", 10)
	err = cache.Refresh(context.Background(), "job")
	value, _ := cache.Get("job")
	fmt.Println(value, err)
	// Output: 13 <nil>
}

// A job that runs elsewhere is tracked until it is done.
func ExampleCache_Wait() {
	state := func(_ context.Context, _ string, percent int) (int, error) {
		if percent += 25; percent < 100 {
			return percent, nil
		}
		return autorefresh.Terminal(100)
	}
	jobs, err := autorefresh.New(state, autorefresh.Options[string, int]{
		Period: 10 * time.Millisecond, Overflow: autorefresh.Reject, TerminalTTL: time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = jobs.Close() }()
	_, _, _ = jobs.GetOrCreate("job-7", 0)
	fmt.Println(jobs.Wait(context.Background(), "job-7", func(percent int) bool { return percent == 100 }))
	// Output: 100 <nil>
}

func ExampleCache_Lookup() {
	cache, err := autorefresh.New(numbers, autorefresh.Options[string, int]{Period: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	_, _, _ = cache.GetOrCreate("job", 1)
	entry, ok := cache.Lookup("job")
	fmt.Println(entry.Value, ok, time.Since(entry.LoadedAt) < time.Hour, entry.Terminal)
	// Output: 1 true true false
}

func ExampleCache_All() {
	cache, err := autorefresh.New(numbers, autorefresh.Options[string, int]{Period: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	_, _, _ = cache.GetOrCreate("job", 1)
	for key, value := range cache.All() {
		fmt.Println(key, value)
	}
	// Output: job 1
}

func ExampleCache_Delete() {
	cache, err := autorefresh.New(numbers, autorefresh.Options[string, int]{Period: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	_, _, _ = cache.GetOrCreate("job", 1)
	fmt.Println(cache.Delete("job"), cache.Delete("job"))
	// Output: true false
}

func ExampleCache_Collect() {
	cache, err := autorefresh.New(numbers, autorefresh.Options[string, int]{Period: time.Hour, Name: "jobs"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	fmt.Println(prometheus.NewRegistry().Register(cache))
	// Output: <nil>
}

func ExampleOptions_weigh() {
	render := func(_ context.Context, url string, _ string) (string, error) { return "the page at " + url, nil }
	pages, err := autorefresh.New(render, autorefresh.Options[string, string]{
		Period:    time.Minute,
		MaxWeight: 64 << 20, // bytes
		Weigh:     func(url, page string) uint32 { return uint32(200 + len(url) + len(page)) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = pages.Close() }()
	page, err := pages.Load(context.Background(), "/about")
	fmt.Println(page, err, pages.Stats().Weight)
	// Output: the page at /about <nil> 224
}
