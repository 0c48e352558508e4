package level

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
)

// mostRules is how many invalidations are known by what they concern. If there are more, the two
// oldest become one that concerns all keys: that asks the source in vain, and never too seldom.
const mostRules = 16

// rule is an invalidation: values from before a time are not what the source has, if they match.
type rule[K comparable, V any] struct {
	before  int64
	matches func(K, V) bool // nil for all
}

// distrust knows what the user has invalidated. It is safe for concurrent use.
type distrust[K comparable, V any] struct {
	mu    sync.Mutex
	rules []rule[K, V] // the oldest first, never written to; guarded by mu
}

// add notes a rule, and forgets those from before which no value is left.
func (d *distrust[K, V]) add(r rule[K, V], forgotten int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rules := slices.DeleteFunc(slices.Clone(d.rules), func(old rule[K, V]) bool { return old.before < forgotten })
	if len(rules) == mostRules {
		rules = slices.Replace(rules, 0, 2, rule[K, V]{before: rules[1].before})
	}
	d.rules = append(rules, r)
}

// covers reports whether a value was invalidated. The functions are called without a lock.
func (d *distrust[K, V]) covers(key K, v V, loadedAt int64) bool {
	d.mu.Lock()
	rules := d.rules
	d.mu.Unlock()
	return slices.ContainsFunc(rules, func(r rule[K, V]) bool {
		if loadedAt >= r.before || r.matches == nil {
			return loadedAt < r.before
		}
		is, err := safe.Call("InvalidateFunc", func() (bool, error) { return r.matches(key, v), nil })
		return is || err != nil
	})
}

// Distrust has values from before now that match, all if matches is nil, taken for missing,
// whatever other processes store; s may be nil. Clocks may differ: what they date a little later is
// old, too.
func (s *Level[K, V]) Distrust(matches func(K, V) bool) {
	if s != nil {
		now := s.now()
		s.distrust.add(rule[K, V]{now, matches}, now-int64(s.ttl)-int64(s.fence))
	}
}

// DistrustBefore has all values from before a time taken for missing.
func (s *Level[K, V]) DistrustBefore(at int64) {
	s.distrust.add(rule[K, V]{before: at}, s.now()-int64(s.ttl)-int64(s.fence))
}

// Discard deletes the values of keys that the user has invalidated; s may be nil. What cannot be
// told is owed.
func (s *Level[K, V]) Discard(ctx context.Context, keys []K) error {
	if s == nil || len(keys) == 0 {
		return nil
	}
	var failed error
	for some := range slices.Chunk(s.names(keys), atOnce) {
		if failed != nil || ctx.Err() != nil {
			s.owe(s.marks(Invalidated, some...))
			s.graves.end(some)
			continue
		}
		failed = s.bury(ctx, s.marks(Invalidated, some...), justNow)
	}
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return fmt.Errorf("autorefresh: the second level has not been told of all that was invalidated, "+
			"which will be made up for: %w", failed)
	}
	return nil
}
