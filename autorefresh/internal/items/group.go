package items

import "github.com/holdfast-go/holdfast/autorefresh/internal/safe"

// groupOf is the group of a key, see GroupBy. A panic of that function counts as the group "".
func (s *Items[K, V]) groupOf(key K) string {
	if s.GroupBy == nil {
		return ""
	}
	group, err := safe.Call("GroupBy", func() (string, error) { return s.GroupBy(key), nil })
	if err != nil {
		s.Tell.Complain(err)
	}
	return group
}

// GroupsOf are the groups of keys, nil if all are of one.
func (s *Items[K, V]) GroupsOf(keys []K) []string {
	if s.GroupBy == nil {
		return nil
	}
	groups := make([]string, len(keys))
	for n, key := range keys {
		groups[n] = s.groupOf(key)
	}
	return groups
}
