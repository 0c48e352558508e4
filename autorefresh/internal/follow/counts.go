package follow

import (
	"sync/atomic"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
)

// Counts are what a follower has counted.
type Counts struct {
	Gaps    uint64                   // times when changes may have been missed
	Deaf    bool                     // changes by other processes are not heard of
	Notices [changes.Verdicts]uint64 // keys looked up because they may have changed, by what became of them
}

type counts struct {
	gaps    atomic.Uint64
	deaf    atomic.Bool
	notices [changes.Verdicts]atomic.Uint64
}

// Counts returns a snapshot.
func (f *Follower[K, V]) Counts() Counts {
	c := Counts{Gaps: f.counts.gaps.Load(), Deaf: f.counts.deaf.Load()}
	for v := range f.counts.notices {
		c.Notices[v] = f.counts.notices[v].Load()
	}
	return c
}
