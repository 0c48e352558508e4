package lists

import "github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"

// Adopt, Learn and LetGo are steps of those who follow the source and the history.
func (l *Lists) Adopt(names []string)        { l.adopt(names, nil) }
func (l *Lists) Learn(former []history.List) { l.learn(former) }
func (l *Lists) LetGo()                      { l.letGo() }

// FormerServers are how many servers of former lists can be asked.
func (l *Lists) FormerServers() (n int) {
	for _, f := range l.now.Load().Former {
		for _, s := range f.Unique() {
			if l.fleet.Named(s.Address) == s {
				n++
			}
		}
	}
	return n
}
