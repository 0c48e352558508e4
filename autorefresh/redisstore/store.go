// Package redisstore is a second level of autorefresh on a redis primary that sentinels watch:
// processes that share it share what one of them has refreshed, failovers included.
package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/sentinel"
)

// Options are a store's choices. Primary and Namespace must be set.
type Options struct {
	// Primary is the name of the primary to use, as the sentinels call it; the client must follow
	// it. It must be set.
	Primary string
	// Namespace is what the store's keys begin with. Each cache needs its own, shared by its
	// replicas: a cache would take another's values for its own. ":v" and ":l" must not be in it
	// before a colon or its end: so the keys of two namespaces never meet. It must be set.
	Namespace string
}

// Store keeps the values of one cache in redis. It has no useful zero value: [New] makes one, for
// Options.Store of a cache. It is safe for concurrent use, starts nothing, and leaves the client
// open.
//
// The value of the key "42" is under "<namespace>:v:42", its lease under "<namespace>:l:42". A
// failover may lose the last writes: then values are loaded again, and a key may be asked for by
// two processes once.
type Store struct {
	client    *sentinel.Client
	primary   string
	namespace string
	token     string // what this store's leases hold
}

var (
	_ autorefresh.Store  = (*Store)(nil)
	_ autorefresh.Leaser = (*Store)(nil)
	_ autorefresh.Marker = (*Store)(nil)

	_ autorefresh.Reporter = (*Store)(nil)
)

// New makes a store. The error names the option that is wrong, and its value.
func New(client *sentinel.Client, o Options) (*Store, error) {
	switch {
	case client == nil:
		return nil, errors.New("redisstore: client is nil: pass one that sentinel.New has made")
	case o.Primary == "":
		return nil, errors.New(`redisstore: Options.Primary is "": set the name of a primary, as the sentinels call it`)
	case client.Breaker(o.Primary) == nil:
		return nil, fmt.Errorf("redisstore: Options.Primary is %q: set one of the names that the client follows", o.Primary)
	case o.Namespace == "":
		return nil, errors.New(`redisstore: Options.Namespace is "": set a name of the cache's own, which its replicas share`)
	case ambiguous(o.Namespace):
		return nil, fmt.Errorf("redisstore: Options.Namespace is %q: set one without the parts :v and :l, "+
			"by which keys of a shorter namespace go on", o.Namespace)
	}
	return &Store{client: client, primary: o.Primary, namespace: o.Namespace, token: rand.Text()}, nil
}

const (
	// maxKeys and maxBytes are the most that one request carries, lest it holds up those of others:
	// they share a connection.
	maxKeys  = 256
	maxBytes = 1 << 20
)

// kind is what a key is of.
type kind string

const (
	ofValue kind = "v"
	ofLease kind = "l"
)

// ambiguous reports whether keys of a namespace could be those of a shorter one: a key begins with
// the namespace, a colon, its kind and a colon. Two keys are the same only if the longer namespace
// goes on like that after the shorter one.
func ambiguous(namespace string) bool {
	return strings.Contains(namespace+":", ":"+string(ofValue)+":") || strings.Contains(namespace+":", ":"+string(ofLease)+":")
}

func (s *Store) name(k kind, key string) string { return s.namespace + ":" + string(k) + ":" + key }

func (s *Store) names(k kind, keys []string) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.name(k, key)
	}
	return names
}

func (s *Store) do(ctx context.Context, a radix.Action) error { return s.client.Do(ctx, s.primary, a) }

// Servers implements [autorefresh.Reporter]: the primary is down while the client has none that it
// may use.
func (s *Store) Servers() map[string]error {
	stats := s.client.Breaker(s.primary).Stats()
	switch {
	case stats.State == breaker.Closed || stats.State == breaker.ForcedClosed:
		return map[string]error{s.primary: nil}
	case stats.LastCause != nil:
		return map[string]error{s.primary: stats.LastCause}
	default:
		return map[string]error{s.primary: breaker.ErrOpen}
	}
}

// GetMulti implements [autorefresh.Store].
func (s *Store) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(keys))
	for some := range slices.Chunk(keys, maxKeys) {
		var values [][]byte
		if err := s.do(ctx, radix.Cmd(&values, "MGET", s.names(ofValue, some)...)); err != nil {
			return found, err
		}
		if len(values) != len(some) { // whose they are is told by their places alone
			return found, fmt.Errorf("redisstore: MGET of %d keys was answered with %d values: something between the client and redis changes replies", len(some), len(values))
		}
		for i, value := range values {
			if value != nil {
				found[some[i]] = value
			}
		}
	}
	return found, nil
}

// SetMulti implements [autorefresh.Store]. The ttl is rounded up to whole milliseconds.
func (s *Store) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	p, bytes, n := radix.NewPipeline(), 0, 0
	for key, value := range values {
		p.Append(radix.FlatCmd(nil, "SET", s.name(ofValue, key), value, "PX", milliseconds(ttl)))
		bytes += len(value)
		if n++; n < maxKeys && bytes < maxBytes {
			continue
		}
		if err := s.do(ctx, p); err != nil {
			return err
		}
		p, bytes, n = radix.NewPipeline(), 0, 0
	}
	if n == 0 {
		return nil
	}
	return s.do(ctx, p)
}

// setUnlessMarked sets each first key of two unless the second, its mark, is there with another
// value than was seen.
const setUnlessMarked = `for i = 1, #KEYS, 2 do
local mark = redis.call("GET", KEYS[i + 1])
if not mark or mark == ARGV[i + 2] then redis.call("SET", KEYS[i], ARGV[i + 1], "PX", ARGV[1]) end
end`

// SetUnlessMarked implements [autorefresh.Marker]. The ttl is rounded up to whole milliseconds.
func (s *Store) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	var names, args []string
	bytes := 0
	send := func() error {
		if len(names) == 0 {
			return nil
		}
		whole := append([]string{setUnlessMarked, strconv.Itoa(len(names))}, names...)
		whole = append(append(whole, milliseconds(ttl)), args...)
		names, args, bytes = names[:0], args[:0], 0
		return s.do(ctx, radix.Cmd(nil, "EVAL", whole...))
	}
	for key, v := range values {
		names = append(names, s.name(ofValue, key), s.name(ofValue, v.Mark))
		args = append(args, string(v.Value), string(v.Seen))
		if bytes += len(v.Value); len(names) < maxKeys && bytes < maxBytes {
			continue
		}
		if err := send(); err != nil {
			return err
		}
	}
	return send()
}

// Delete implements [autorefresh.Store].
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for some := range slices.Chunk(keys, maxKeys) {
		if err := s.do(ctx, radix.Cmd(nil, "DEL", s.names(ofValue, some)...)); err != nil {
			return err
		}
	}
	return nil
}

// Lease implements [autorefresh.Leaser]. The ttl is rounded up to whole milliseconds.
func (s *Store) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	taken := make(map[string]bool)
	px := milliseconds(ttl)
	for some := range slices.Chunk(keys, maxKeys) {
		replies := make([]radix.Maybe, len(some))
		p := radix.NewPipeline()
		for i, key := range some {
			p.Append(radix.Cmd(&replies[i], "SET", s.name(ofLease, key), s.token, "NX", "PX", px))
		}
		if err := s.do(ctx, p); err != nil {
			return taken, err
		}
		for i := range replies {
			if replies[i].Null {
				taken[some[i]] = true
			}
		}
	}
	return taken, nil
}

// release deletes those of the keys that hold the caller's token.
const release = `for _, key in ipairs(KEYS) do if redis.call("GET", key) == ARGV[1] then redis.call("DEL", key) end end`

// Release implements [autorefresh.Leaser]. A lease that has ended meanwhile, and that another
// process has now, stays.
func (s *Store) Release(ctx context.Context, keys ...string) error {
	for some := range slices.Chunk(keys, maxKeys) {
		args := append([]string{release, strconv.Itoa(len(some))}, s.names(ofLease, some)...)
		if err := s.do(ctx, radix.Cmd(nil, "EVAL", append(args, s.token)...)); err != nil {
			return err
		}
	}
	return nil
}

// milliseconds rounds up, and to one at least: redis refuses 0.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(int64(max((d-1)/time.Millisecond+1, 1)), 10)
}
