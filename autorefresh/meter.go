package autorefresh

import (
	"sync/atomic"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// meter is what is measured and counted.
type meter struct {
	table            *metrics.Autorefresh
	lateness, served *observe.Histogram
	misses           atomic.Uint64
	gaps             atomic.Uint64                   // times when changes may have been missed
	deaf             atomic.Bool                     // changes by other processes are not heard of
	notices          [changes.Verdicts]atomic.Uint64 // keys looked up because they may have changed

	counts // guarded by the cache's mu
}

// counts are what has been counted.
type counts struct {
	refreshes [fetch.Outcomes]uint64
	evictions uint64
	idle      uint64
	stuck     uint64
}

func newMeter(name string) *meter {
	return &meter{
		table:    metrics.NewAutorefresh(name),
		lateness: observe.NewHistogram(observe.Ages(), observe.Stripes{}), served: observe.NewHistogram(observe.Ages(), observe.Stripes{}),
	}
}
