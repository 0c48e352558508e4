package etcdpeers

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// entry is one key of etcd's list.
type entry struct {
	addr     string // "" if its value names none that can be used
	revision int64
	lease    int64 // no two are the same, also when etcd has lost its data meanwhile
}

// signal leaves a message, unless there is one already.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (w *Watcher) hasList() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.entries != nil
}

// replace takes over a whole list. There is a cause unless it is the first one.
func (w *Watcher) replace(kvs []*mvccpb.KeyValue, cause string) {
	w.mu.Lock()
	if cause != "" {
		w.stats.Relists[cause]++
		w.keepAll()
	}
	w.entries = make(map[string]entry, len(kvs))
	for _, kv := range kvs {
		w.put(kv)
	}
	if _, ok := w.entries[w.ownKey()]; !ok {
		signal(w.missing)
	}
	w.heard()
	w.mu.Unlock()
	w.tell()
}

// apply takes over changes of the list.
func (w *Watcher) apply(events []*clientv3.Event) {
	w.mu.Lock()
	w.heard()
	if len(events) == 0 { // it says only that it has begun
		w.mu.Unlock()
		return
	}
	for _, e := range events {
		if e.Type == clientv3.EventTypePut {
			w.put(e.Kv)
			continue
		}
		key := string(e.Kv.Key)
		delete(w.entries, key)
		if key == w.ownKey() {
			w.keepAll()
			signal(w.missing)
		}
	}
	w.mu.Unlock()
	w.tell()
}

// put takes over one key. The caller holds mu.
func (w *Watcher) put(kv *mvccpb.KeyValue) {
	key, addr := string(kv.Key), decode(kv.Value)
	w.entries[key] = entry{addr, kv.ModRevision, kv.Lease}
	if key == w.ownKey() && addr != w.options.Self {
		signal(w.missing)
	}
}

// heard notes that etcd has answered. The caller holds mu.
func (w *Watcher) heard() {
	now := time.Now()
	if !w.stats.Updated.IsZero() && now.Sub(w.stats.Updated) > w.options.TTL/2 {
		w.keepAll()
	}
	w.stats.Updated = now
}

// keepAll has nobody dropped for the length of a lease. The caller holds mu.
func (w *Watcher) keepAll() { w.dropFrom = time.Now().Add(w.options.TTL) }

// confirm compares what etcd says of its list, the number of keys and the newest of them, with what
// the watch has told.
func (w *Watcher) confirm(count int64, newest []*mvccpb.KeyValue) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard()
	same := int64(len(w.entries)) == count
	for _, kv := range newest {
		e := w.entries[string(kv.Key)]
		same = same && e.revision == kv.ModRevision && e.lease == kv.Lease
	}
	return same
}

// tell has the peers set after a change, and logs the first value that is left out.
func (w *Watcher) tell() {
	w.mu.Lock()
	before, key := w.stats.Ignored, ""
	w.stats.Ignored = 0
	for k, e := range w.entries {
		if e.addr == "" {
			w.stats.Ignored++
			key = k
		}
	}
	first := before == 0 && w.stats.Ignored > 0
	w.stats.Listed = len(w.entries) - w.stats.Ignored
	w.mu.Unlock()
	if first {
		w.log.Warn("etcdpeers: an entry that names no address is left out", "key", cut(key))
	}
	signal(w.changed)
}

// cut quotes a key for a log.
func cut(key string) string { return fmt.Sprintf("%.64q", key) }

// publish sets the peers whenever the list has changed, but not more often than once in Debounce.
func (w *Watcher) publish() {
	var due <-chan time.Time
	for failures := 0; ; {
		select {
		case <-w.life.Done():
			return
		case <-due:
		case <-w.changed:
			if w.hasPeers() && !backoff.Pause(w.life, w.options.Debounce) {
				return
			}
			select {
			case <-w.changed: // meanwhile; what follows sees it
			default:
			}
		}
		again, err := w.set()
		if failures++; err == nil {
			failures = 0
		} else {
			again = retries().Delay(failures)
		}
		due = nil
		if again > 0 {
			due = time.After(again)
		}
		w.settled()
	}
}

func (w *Watcher) hasPeers() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.published) > 0
}

// set tells the instance, if anything has changed. It returns when to look again, 0 for not before
// the next change.
func (w *Watcher) set() (again time.Duration, err error) {
	w.mu.Lock()
	addrs, again := w.next()
	same := slices.Equal(addrs, w.published)
	w.mu.Unlock()
	if same {
		return again, nil
	}
	err = w.instance.SetPeers(w.options.urls(addrs)...)
	w.mu.Lock()
	before := w.publishErr
	if w.publishErr = err; err == nil {
		w.published = addrs
		w.stats.Changes++
	}
	w.mu.Unlock()
	switch {
	case err == nil:
		w.log.Info("etcdpeers: the peers have changed", "peers", len(addrs))
	case before == nil:
		w.log.Warn("etcdpeers: the instance does not take the peers", observe.Cause(err))
	}
	return again, err
}

// next returns the peers as they should be now, ordered, and how long those that are not listed are
// kept. The caller holds mu.
func (w *Watcher) next() (addrs []string, keep time.Duration) {
	set := make(map[string]bool)
	for _, e := range w.entries {
		if e.addr != "" {
			set[e.addr] = true
		}
	}
	if len(set) == 0 && len(w.published) > 0 {
		return w.published, 0
	}
	if w.options.Self != "" {
		set[w.options.Self] = true
	}
	keep = max(0, time.Until(w.dropFrom))
	if keep > 0 {
		for _, addr := range w.published {
			set[addr] = true
		}
	}
	return slices.Sorted(maps.Keys(set)), keep
}
