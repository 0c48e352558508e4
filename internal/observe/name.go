package observe

import (
	"cmp"
	"strconv"
	"sync"
)

// unnamed counts the clients of each kind that were given a default name.
//
//nolint:gochecknoglobals // names must differ wherever clients of the process meet.
var unnamed struct {
	sync.Mutex

	of map[string]int // guarded by Mutex
}

// Name is the name of a client in metrics and logs: the given one, cleaned as a label is, or, of
// those without, kind, kind-2 and so on within the process.
func Name(given, kind string) string {
	if given != "" {
		return Label(given)
	}
	unnamed.Lock()
	defer unnamed.Unlock()
	if unnamed.of == nil {
		unnamed.of = make(map[string]int)
	}
	unnamed.of[kind]++
	if n := unnamed.of[kind]; n > 1 {
		return kind + "-" + strconv.Itoa(n)
	}
	return kind
}

// NameOf is the name of what serves an instance, such as a watcher of its peers: the given one;
// else that of the instance, so that their metrics can be joined, if it has a method Name; else
// fallback.
func NameOf(instance any, given, fallback string) string {
	if named, ok := instance.(interface{ Name() string }); ok && given == "" {
		return named.Name()
	}
	return Label(cmp.Or(given, fallback))
}
