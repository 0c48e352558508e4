package lists

import (
	"sync/atomic"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/keys"
)

// maxCopying bounds the copies under way.
const maxCopying = 64

// handing counts hand-overs, and bounds them.
type handing struct {
	slots                            chan struct{}
	asked                            keys.Asked
	copied, missed, skipped, deletes atomic.Uint64
}

func (h *handing) init() { h.slots = make(chan struct{}, maxCopying) }

func (h *handing) count(st *Stats) {
	st.Copied, st.Missed, st.Skipped, st.FormerDeletes = h.copied.Load(), h.missed.Load(), h.skipped.Load(), h.deletes.Load()
}
