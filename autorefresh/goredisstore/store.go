// Package goredisstore is a second level of autorefresh on a redis that a go-redis client reaches:
// processes that share it share what one of them has refreshed. With the client of sentinel/goredis
// it follows failovers. Its keys are those of redisstore: processes that use the one and the other
// may share a namespace. It is no Watcher, see Options.Watch of package autorefresh; processes that
// watch with redisstore are told of its changes.
package goredisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// Options are a store's choices. Namespace must be set.
type Options struct {
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
	client    redis.UniversalClient
	namespace string
	token     string // what this store's leases hold
}

var (
	_ autorefresh.Store  = (*Store)(nil)
	_ autorefresh.Leaser = (*Store)(nil)
	_ autorefresh.Marker = (*Store)(nil)
)

// New makes a store. A client of a Redis Cluster, or a Ring, is refused: a value and the mark of
// its deletion may be at two servers then. The error names what is wrong.
func New(client redis.UniversalClient, o Options) (*Store, error) {
	switch c := client.(type) {
	case nil:
		return nil, errors.New("goredisstore: client is nil: pass one of redis.NewClient, or of sentinel/goredis")
	case *redis.Client:
		if c == nil {
			return nil, errors.New("goredisstore: client is a nil *redis.Client: look at the error of what has made it")
		}
	case *redis.ClusterClient, *redis.Ring:
		return nil, fmt.Errorf("goredisstore: client is a %T: a value and the mark of its deletion must be at one server; use a *redis.Client", client)
	}
	switch {
	case o.Namespace == "":
		return nil, errors.New(`goredisstore: Options.Namespace is "": set a name of the cache's own, which its replicas share`)
	case ambiguous(o.Namespace):
		return nil, fmt.Errorf("goredisstore: Options.Namespace is %q: set one without the parts :v and :l, "+
			"by which keys of a shorter namespace go on", o.Namespace)
	}
	return &Store{client: client, namespace: o.Namespace, token: rand.Text()}, nil
}

const (
	// maxKeys and maxBytes are the most that one request carries.
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

// GetMulti implements [autorefresh.Store].
func (s *Store) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(keys))
	for some := range slices.Chunk(keys, maxKeys) {
		values, err := s.client.MGet(ctx, s.names(ofValue, some)...).Result()
		if err != nil {
			return found, err
		}
		if len(values) != len(some) { // whose they are is told by their places alone
			return found, fmt.Errorf("goredisstore: MGET of %d keys was answered with %d values: something between the client and redis changes replies", len(some), len(values))
		}
		for i, value := range values {
			if text, ok := value.(string); ok {
				found[some[i]] = []byte(text)
			}
		}
	}
	return found, nil
}

// SetMulti implements [autorefresh.Store]. The ttl is rounded up to whole milliseconds.
func (s *Store) SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error {
	p, bytes := s.client.Pipeline(), 0
	for key, value := range values {
		p.Do(ctx, "SET", s.name(ofValue, key), value, "PX", milliseconds(ttl))
		if bytes += len(value); p.Len() < maxKeys && bytes < maxBytes {
			continue
		}
		if _, err := p.Exec(ctx); err != nil {
			return err
		}
		p, bytes = s.client.Pipeline(), 0
	}
	if p.Len() == 0 {
		return nil
	}
	_, err := p.Exec(ctx)
	return err
}

// setUnlessMarked sets each first key of two unless the second, its mark, is there with another
// value than was seen.
const setUnlessMarked = `for i = 1, #KEYS, 2 do
local mark = redis.call("GET", KEYS[i + 1])
if not mark or mark == ARGV[i + 2] then redis.call("SET", KEYS[i], ARGV[i + 1], "PX", ARGV[1]) end
end`

// SetUnlessMarked implements [autorefresh.Marker]. The ttl is rounded up to whole milliseconds.
func (s *Store) SetUnlessMarked(ctx context.Context, values map[string]autorefresh.Marked, ttl time.Duration) error {
	var names []string
	args, bytes := []any{milliseconds(ttl)}, 0
	send := func() error {
		if len(names) == 0 {
			return nil
		}
		err := s.eval(ctx, setUnlessMarked, names, args...)
		names, args, bytes = nil, args[:1:1], 0
		return err
	}
	for key, v := range values {
		names = append(names, s.name(ofValue, key), s.name(ofValue, v.Mark))
		args = append(args, v.Value, v.Seen)
		if bytes += len(v.Value); len(names) < maxKeys && bytes < maxBytes {
			continue
		}
		if err := send(); err != nil {
			return err
		}
	}
	return send()
}

// eval runs a script that returns nothing.
func (s *Store) eval(ctx context.Context, script string, names []string, args ...any) error {
	if err := s.client.Eval(ctx, script, names, args...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	return nil
}

// Delete implements [autorefresh.Store].
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for some := range slices.Chunk(keys, maxKeys) {
		if err := s.client.Del(ctx, s.names(ofValue, some)...).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Lease implements [autorefresh.Leaser]. The ttl is rounded up to whole milliseconds.
func (s *Store) Lease(ctx context.Context, keys []string, ttl time.Duration) (map[string]bool, error) {
	taken := make(map[string]bool)
	for some := range slices.Chunk(keys, maxKeys) {
		p := s.client.Pipeline()
		replies := make([]*redis.Cmd, len(some))
		for i, key := range some {
			replies[i] = p.Do(ctx, "SET", s.name(ofLease, key), s.token, "NX", "PX", milliseconds(ttl))
		}
		if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return taken, err
		}
		for i, reply := range replies {
			switch err := reply.Err(); {
			case errors.Is(err, redis.Nil):
				taken[some[i]] = true
			case err != nil:
				return taken, err
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
		if err := s.eval(ctx, release, s.names(ofLease, some), s.token); err != nil {
			return err
		}
	}
	return nil
}

// milliseconds rounds up, and to one at least: redis refuses 0.
func milliseconds(d time.Duration) int64 {
	return int64(max((d-1)/time.Millisecond+1, 1))
}
