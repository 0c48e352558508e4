package memcache

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// unansweredTime is how long after its first failure a client without a single answer says so.
const unansweredTime = 5 * time.Second

// unanswered tells of a client that no server has ever answered: its reads are misses and its
// writes fail, as in an outage, but an address, a port or TLS is more likely wrong than all servers
// down. It says so once, to the default logger if the client has none.
type unanswered struct {
	core     *core
	once     sync.Once
	answered atomic.Bool // or the client is closed

	mu    sync.Mutex
	timer *time.Timer // guarded by mu
	over  bool        // there was an answer, or the client is closed; guarded by mu
}

// failed is called with each failure of a connection.
func (u *unanswered) failed() {
	u.once.Do(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !u.over {
			u.timer = time.AfterFunc(unansweredTime, u.say)
		}
	})
}

// end is called with the first answer on each connection, and when the client is closed.
func (u *unanswered) end() {
	u.answered.Store(true)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	if u.timer != nil {
		u.timer.Stop()
	}
}

func (u *unanswered) say() {
	u.mu.Lock()
	over := u.over
	u.over = true
	u.mu.Unlock()
	if over {
		return
	}
	log := u.core.log
	if u.core.options.Logger == nil {
		log = observe.Logger(slog.Default(), u.core.name)
	}
	for _, s := range u.core.all() {
		if down := s.downNow(); down != nil {
			log.Warn("memcached client has had no answer from any server so far: are addresses, TLS and passwords right?",
				observe.Endpoint(s.address), observe.Cause(plainCause(down.cause)))
			return
		}
	}
	log.Warn("memcached client has had no answer from any server so far: are addresses, TLS and passwords right?")
}
