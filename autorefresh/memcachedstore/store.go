// Package memcachedstore is a second level of autorefresh on memcached: processes that share the
// servers share what one of them has refreshed. It uses the client of this module, which answers at
// once while a server is down, and heals.
package memcachedstore

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// Options are a store's choices. Namespace must be set.
type Options struct {
	// Namespace is what the store's keys begin with. Each cache needs its own, shared by its
	// replicas: a cache would take another's values for its own. 1 to 100 bytes without spaces and
	// control characters, nor with ":v" or ":l" before a colon, a "#" or its end: so the keys of
	// two namespaces never meet. It must be set.
	Namespace string
	// PollInterval is how often [Store.Watch] asks memcached whether something has changed, with
	// one get. Default 100 ms.
	PollInterval time.Duration
}

// maxNamespace leaves room for a hash in a key of 250 bytes.
const maxNamespace = 100

func (o Options) check() error {
	if o.Namespace == "" {
		return errors.New(`memcachedstore: Options.Namespace is "": set a name of the cache's own, which its replicas share`)
	}
	if len(o.Namespace) > maxNamespace {
		return fmt.Errorf("memcachedstore: Options.Namespace is %q, %d bytes: set at most %d", o.Namespace, len(o.Namespace), maxNamespace)
	}
	if !plain(o.Namespace) {
		return fmt.Errorf("memcachedstore: Options.Namespace is %q: set one without spaces and control characters", o.Namespace)
	}
	if namespace(o.Namespace).isAmbiguous() {
		return fmt.Errorf("memcachedstore: Options.Namespace is %q: set one without the parts :v and :l, "+
			"by which keys of a shorter namespace go on", o.Namespace)
	}
	if o.PollInterval < 0 {
		return fmt.Errorf("memcachedstore: Options.PollInterval is %v: set a positive duration, or 0 for %v", o.PollInterval, defaultPoll)
	}
	return nil
}

// Store keeps the values of one cache in memcached. It has no useful zero value: [New] makes one,
// for Options.Store of a cache. It is safe for concurrent use, starts nothing, and leaves the
// client open.
//
// The value of the key "42" is under "<namespace>:v:42", its lease under "<namespace>:l:42". A key
// that memcached cannot carry, because it has spaces or control characters or is too long, is
// replaced with its hash: "<namespace>:v#" and the SHA-256 in hexadecimal. What caches with
// Options.Watch tell each other is under "<namespace>:n" and "<namespace>:n:<number>".
type Store struct {
	client    *memcache.Client
	namespace namespace
	token     []byte // what this store's leases hold
	poll      time.Duration
	pending   pending
}

var (
	_ autorefresh.Store  = (*Store)(nil)
	_ autorefresh.Leaser = (*Store)(nil)
	_ autorefresh.Marker = (*Store)(nil)

	_ autorefresh.Reporter = (*Store)(nil)
	_ autorefresh.Watcher  = (*Store)(nil)
)

// New makes a store. It sees servers that are down whatever Options.ReportUnavailable of the client
// says. The error names the option that is wrong, and its value.
func New(client *memcache.Client, o Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("memcachedstore: client is nil: pass one that memcache.New has made")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Store{
		client: client.Reporting(), namespace: namespace(o.Namespace), token: []byte(rand.Text()), poll: cmp.Or(o.PollInterval, defaultPoll),
	}, nil
}

// Servers implements [autorefresh.Reporter]: a server is down while the client's breaker keeps
// calls from it.
func (s *Store) Servers() map[string]error {
	servers := make(map[string]error)
	for addr, stats := range s.client.Stats() {
		switch {
		case stats.State == breaker.Closed || stats.State == breaker.ForcedClosed:
			servers[addr] = nil
		case stats.DownCause != nil:
			servers[addr] = stats.DownCause
		default:
			servers[addr] = breaker.ErrOpen
		}
	}
	return servers
}

// defaultPoll is how often the journal is looked at.
const defaultPoll = 100 * time.Millisecond
