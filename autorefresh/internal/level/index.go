package level

import (
	"reflect"
	"sync"
)

// index finds keys by their names. It is safe for concurrent use.
type index[K comparable] struct {
	plain bool         // keys are their names
	keep  func(K) bool // reports whether a key is still of interest; nil if nobody asks

	mu    sync.Mutex
	keys  map[string]K // guarded by mu
	limit int          // then those are dropped that are of no interest; guarded by mu
}

// smallIndex is how many keys an index has before it looks which of them it needs.
const smallIndex = 1024

// newIndex makes an index; keep is nil if nobody will ask.
func newIndex[K comparable](named func(K) string, keep func(K) bool) index[K] {
	return index[K]{plain: named == nil && reflect.TypeFor[K]().Kind() == reflect.String, keep: keep, keys: make(map[string]K), limit: smallIndex}
}

// isNeeded reports whether names of keys are to be noted.
func (x *index[K]) isNeeded() bool { return x.keep != nil && !x.plain }

// add notes the name of a key.
func (x *index[K]) add(name string, key K) {
	if !x.isNeeded() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.keys[name]; !known && len(x.keys) >= x.limit {
		for name, key := range x.keys {
			if !x.keep(key) {
				delete(x.keys, name)
			}
		}
		x.limit = max(2*len(x.keys), smallIndex)
	}
	x.keys[name] = key
}

// keyOf returns the key of a name, false if it is not known.
func (x *index[K]) keyOf(name string) (key K, ok bool) {
	if x.plain {
		reflect.ValueOf(&key).Elem().SetString(name)
		return key, true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	key, ok = x.keys[name]
	return key, ok
}
