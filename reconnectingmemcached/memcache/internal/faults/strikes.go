package faults

import (
	"errors"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
)

// Strikes counts connection errors that the breaker does not tell apart.
type Strikes struct {
	mu      sync.Mutex
	garbage int64 // when the last reply did not parse, 0 never; guarded by mu
	timeout int64 // when the last time-out was charged, 0 never; guarded by mu
}

const garbageWindow = int64(10 * time.Second)

// Charge reports the end of a connection to the breaker, once. Two replies within ten seconds that
// do not parse open it.
func (k *Strikes) Charge(b *breaker.Breaker, err error, now int64) {
	if Classify(err) == breaker.Ignored {
		return
	}
	if errors.Is(err, ErrBadReply) {
		k.mu.Lock()
		second := k.garbage != 0 && now-k.garbage < garbageWindow
		k.garbage = now
		k.mu.Unlock()
		if second {
			b.Trip(err)
			return
		}
	}
	if permit, refused := b.Allow(); refused == nil {
		permit.Done(err)
	}
}

// ChargeTimeout charges a time-out unless the call began before the last one was charged: callers
// that waited together were let down once.
func (k *Strikes) ChargeTimeout(b *breaker.Breaker, began, now int64) {
	k.mu.Lock()
	fresh := began >= k.timeout
	if fresh {
		k.timeout = now
	}
	k.mu.Unlock()
	if fresh {
		k.Charge(b, Soft(ErrTimeout), now)
	}
}
