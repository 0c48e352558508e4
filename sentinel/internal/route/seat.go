package route

import (
	"sync/atomic"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Seat names the present primary of a name. It is immutable: every change is a new one.
type Seat struct {
	// Generation grows with each primary.
	Generation uint64
	// Addr is as the sentinels name it; of the last primary if there is none now.
	Addr string
	// Conn is what all callers share, and Beats when the heartbeat was last heard, on a connection
	// of its own; both are nil if there is no primary.
	Conn  *wire.Conn
	Beats *atomic.Int64
	// Err is why there is none.
	Err error
	// Fence ends the wait of writes; nil: they may pass.
	Fence *Fence
	// Mended is closed once the connection was replaced or there is no primary; nil: it is whole.
	Mended chan struct{}
}

// Fence holds writes back until it is lifted: Lifted is closed then.
type Fence struct{ Lifted chan struct{} }
