package autorefresh

import "github.com/holdfast-go/holdfast/autorefresh/internal/safe"

// groupOf is the group of a key, see GroupBy. A panic of that function counts as the group "".
func (c *Cache[K, V]) groupOf(key K) string {
	if c.opts.GroupBy == nil {
		return ""
	}
	group, err := safe.Call("GroupBy", func() (string, error) { return c.opts.GroupBy(key), nil })
	if err != nil {
		c.teller.complain(err)
	}
	return group
}

// groupsOf are the groups of some of the keys, nil if all are of one.
func (c *Cache[K, V]) groupsOf(keys []K, some []int) []string {
	if c.opts.GroupBy == nil {
		return nil
	}
	groups := make([]string, len(some))
	for n, i := range some {
		groups[n] = c.groupOf(keys[i])
	}
	return groups
}
