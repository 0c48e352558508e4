package route

import (
	"sync/atomic"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Metrics are counters that commands write to without a lock.
type Metrics struct {
	// Refused had no primary, and Fenced waited for a failover in vain: nothing was sent.
	Refused, Fenced atomic.Uint64
	// NotSent were lost before they were sent; of Unknown nobody knows whether they were carried
	// out.
	NotSent, Unknown atomic.Uint64
	// Replied is how long replies took, and ErrorReplies counts those of them that were errors.
	Replied      *observe.Histogram
	ErrorReplies atomic.Uint64
}

func (m *Metrics) answered(nanoseconds int64, err error) {
	m.Replied.Observe(nanoseconds)
	if err != nil {
		m.ErrorReplies.Add(1)
	}
}

func (m *Metrics) failed(f *wire.Failure) {
	if f.Sent {
		m.Unknown.Add(1)
		return
	}
	m.NotSent.Add(1)
}
