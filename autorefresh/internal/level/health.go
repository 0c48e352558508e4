package level

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// storeHealth knows which servers of the second level are down, and has changes logged, at most
// once a second. A store that does not report is one server without a name, and down while its
// calls fail.
type storeHealth struct {
	reporter Reporter // nil if the store is none
	logger   *slog.Logger
	looks    safe.Seldom

	mu   sync.Mutex
	down map[string]int64 // since when; guarded by mu
	last error            // of a store that does not report; guarded by mu
}

func newStoreHealth(store Store, logger *slog.Logger) *storeHealth {
	reporter, _ := store.(Reporter)
	return &storeHealth{reporter: reporter, logger: logger, down: make(map[string]int64)}
}

// servers are the servers, and why they are down.
func (h *storeHealth) servers() map[string]error {
	if h.reporter != nil {
		servers, err := safe.Call("Store.Servers", func() (map[string]error, error) { return h.reporter.Servers(), nil })
		if err == nil {
			return servers
		}
		return map[string]error{"": err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return map[string]error{"": h.last}
}

// isDown reports whether any server is.
func (h *storeHealth) isDown() bool {
	for _, err := range h.servers() {
		if err != nil {
			return true
		}
	}
	return false
}

// isUp reports whether a server is known to be up although a call has failed.
func (h *storeHealth) isUp() bool {
	if h.reporter == nil {
		return false
	}
	for _, err := range h.servers() {
		if err == nil {
			return true
		}
	}
	return false
}

// note takes notice of a call of the store that was made now.
func (h *storeHealth) note(now int64, err error) {
	if h.reporter == nil {
		h.mu.Lock()
		same := (h.last == nil) == (err == nil)
		if same || h.looks.May(now) {
			h.last = err
		}
		h.mu.Unlock()
		if same {
			return
		}
	} else if !h.looks.May(now) {
		return
	}
	if went, came := h.compare(now, h.servers()); len(went)+len(came.servers) > 0 {
		h.tell(went, came)
	}
}

// recovery is the end of outages.
type recovery struct {
	servers []string
	after   time.Duration // the longest
}

// compare notes the present state, and returns the servers that went down, with the reasons, and
// those that came back.
func (h *storeHealth) compare(now int64, servers map[string]error) (went map[string]error, came recovery) {
	went = make(map[string]error)
	h.mu.Lock()
	defer h.mu.Unlock()
	for server, err := range servers {
		if _, known := h.down[server]; err != nil && !known {
			went[server] = err
			h.down[server] = now
		}
	}
	for server, since := range h.down {
		if servers[server] == nil {
			came.servers = append(came.servers, server)
			came.after = max(came.after, time.Duration(now-since))
			delete(h.down, server)
		}
	}
	return went, came
}

// tell logs a change.
func (h *storeHealth) tell(went map[string]error, came recovery) {
	slices.Sort(came.servers)
	if len(went) == 0 {
		h.logger.Info("autorefresh: second level is back", listed(came.servers, observe.Duration(observe.KeyAfter, came.after))...)
		return
	}
	servers := slices.Sorted(maps.Keys(went))
	attrs := listed(servers, observe.Cause(went[servers[0]]))
	if len(came.servers) > 0 {
		attrs = append(attrs, "back", came.servers)
	}
	h.logger.Warn("autorefresh: second level is down", attrs...)
}

// listed adds the names of servers, if they have any, to the attributes of a line.
func listed(servers []string, attrs ...any) []any {
	if servers[0] == "" {
		return attrs
	}
	return append([]any{observe.KeyEndpoint, servers}, attrs...)
}
