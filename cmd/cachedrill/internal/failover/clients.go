package failover

import (
	"context"

	"github.com/mediocregopher/radix/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/sentinel"
)

// client is one of the two under test.
type client struct {
	do      func(context.Context, radix.Action) error
	primary func() string // the address that it takes for the primary's; "": none
	// restart makes it anew if calls of it are stuck, and says what it did; "" for nothing.
	restart func(context.Context) string
	release func() // makes calls return that never would
	close   func()

	collector prometheus.Collector // nil: it has none
}

func newHoldfast(ctx context.Context, to Cluster) (*client, error) {
	name := to.Name()
	c, err := sentinel.New(ctx, to.SentinelAddrs(), to.Access().options(sentinel.Options{Names: []string{name}, Name: "cachedrill"}))
	if err != nil {
		return nil, err
	}
	return &client{
		do:        func(ctx context.Context, a radix.Action) error { return c.Do(ctx, name, a) },
		primary:   func() string { return c.Topology(name).Primary },
		restart:   func(context.Context) string { return "" }, // its calls end when their contexts do
		release:   func() {},
		close:     c.Close,
		collector: c,
	}, nil
}
