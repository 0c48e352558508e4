package level

import (
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

// distrust knows the invalidations by the user. It is safe for concurrent use.
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
