package etcd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// ErrEmptyKey is returned by Get for the empty key, which the original's peers do not answer for.
var ErrEmptyKey = errors.New("etcd: the key is empty")

// A Retriever loads values.
type Retriever interface {
	// Retrieve loads the value of a key. An error that is a *groupcache.ErrNotFound says that there
	// is none.
	Retrieve(key string) ([]byte, error)
}

// A RetrieveFunc is a function that is a Retriever.
type RetrieveFunc func(key string) ([]byte, error)

// Retrieve calls f.
func (f RetrieveFunc) Retrieve(key string) ([]byte, error) { return f(key) }

// A Fetcher gets values from another peer.
type Fetcher interface {
	Fetch(group string, key string) ([]byte, error)
}

// A Picker says which peer owns a key: a *Server, or one of the caller's.
type Picker interface {
	// Pick returns the owner of a key and true, or false if this process is the owner.
	Pick(key string) (Fetcher, bool)
}

// A Group is a set of keys with one Retriever. Make it with NewGroup; most callers want Get. It is
// safe for concurrent use.
type Group struct {
	name      string
	maxBytes  int64
	retriever Retriever

	current atomic.Pointer[groupcache.Group] // nil until it is first needed
	local   atomic.Pointer[wire.Local]       // answers peers for current, if that is none of a Server's

	mu     sync.Mutex
	picker Picker // nil without RegisterServer; guarded by mu
}

// groups are all groups by name, the newest of each.
var groups registry //nolint:gochecknoglobals // the original's functions work on the groups of the process

type registry struct {
	mu     sync.Mutex
	byName map[string]*Group // guarded by mu
}

func (r *registry) put(g *Group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName == nil {
		r.byName = make(map[string]*Group)
	}
	r.byName[g.name] = g
}

func (r *registry) get(name string) *Group {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byName[name]
}

func (r *registry) all() []*Group {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.byName))
}

func (r *registry) take(name string) *Group {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.byName[name]
	delete(r.byName, name)
	return g
}

// NewGroup makes a group that works alone until RegisterServer; peers that ask a Server of this
// process for its keys are answered. The budget is in bytes, for all its values in this process; 0
// caches nothing. A group of the same name is not found by GetGroup any more, but works on. It
// panics without a Retriever, as the original does.
func NewGroup(name string, maxBytes int64, retriever Retriever) *Group {
	if retriever == nil {
		panic("etcd: NewGroup: the group has no Retriever: pass what loads its values")
	}
	g := &Group{name: name, maxBytes: max(maxBytes, 0), retriever: retriever}
	groups.put(g)
	return g
}

// GetGroup is the newest group of a name, nil if there is none.
func GetGroup(name string) *Group { return groups.get(name) }

// DestroyGroup forgets the group of a name, and stops its server if that has no other one. Without
// such a group it does nothing.
func DestroyGroup(name string) {
	g := groups.take(name)
	if g == nil {
		return
	}
	g.mu.Lock()
	s, ok := g.picker.(*Server)
	g.mu.Unlock()
	if ok && s.leave(g) {
		s.Stop()
	}
}

// DestroryGroup is DestroyGroup under the original's name.
func DestroryGroup(name string) { DestroyGroup(name) }

// RegisterServer lets the group share its values with the peers of a server; the server's peers
// then get its keys. With a Picker of the caller's the group asks its Fetchers, and loads what they
// fail to get; peers do not get its keys. Values that were cached before are loaded again. It
// panics if it was called before, as the original does.
func (g *Group) RegisterServer(p Picker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.picker != nil {
		panic("etcd: RegisterServer: the group has a server already")
	}
	g.picker = p
	if s, ok := p.(*Server); ok {
		g.current.Store(s.join(g))
		return
	}
	g.current.Store(g.alone(groupcache.WithPeerPicker(foreign{p})))
}

// engine is what works for the group at the moment.
func (g *Group) engine() *groupcache.Group {
	if e := g.current.Load(); e != nil {
		return e
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current.Load() == nil {
		g.current.Store(g.alone(groupcache.WithPeerPicker(groupcache.NoPeers{})))
	}
	return g.current.Load()
}

// alone makes a group of an instance of its own.
func (g *Group) alone(picker groupcache.GroupOption) *groupcache.Group {
	i := must(groupcache.New(groupcache.Options{Name: "groupcache-etcd-alone", Network: unconnected{g}}))
	return must(g.on(i, picker))
}

// unconnected is the network of a group that asks no peers. It tells what answers them.
type unconnected struct{ group *Group }

var _ groupcache.Network = unconnected{}

var errUnconnected = errors.New("etcd: the group has no peers")

// CheckAddress implements groupcache.Network.
func (unconnected) CheckAddress(string) error { return errUnconnected }

// Attach implements groupcache.Network.
func (u unconnected) Attach(local wire.Local) error {
	u.group.local.Store(&local)
	return nil
}

// Dial implements groupcache.Network. No address passes the check.
func (unconnected) Dial(string) wire.Transport { return nil }

// answering is what answers peers for the group.
func (g *Group) answering() wire.Local {
	g.mu.Lock()
	s, ok := g.picker.(*Server)
	g.mu.Unlock()
	if ok {
		return s.network.own
	}
	g.engine()
	return *g.local.Load()
}

// must is for what cannot fail with the arguments of this package.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// on makes a group of an instance.
func (g *Group) on(i *groupcache.Instance, opts ...groupcache.GroupOption) (*groupcache.Group, error) {
	return i.NewGroup(g.name, g.maxBytes, groupcache.GetterFunc(g.retrieve), opts...)
}

// retrieve is a groupcache.GetterFunc.
func (g *Group) retrieve(_ context.Context, key string, dest groupcache.Sink) error {
	b, err := g.retriever.Retrieve(key)
	if err != nil {
		return err
	}
	return dest.SetBytes(b, time.Time{})
}

// Get finds the value of a key: in this process's cache, else at the key's owner, else by the
// Retriever. All callers that ask for a key at the same time share one load. The error is the
// Retriever's, wherever that ran, or ErrEmptyKey.
func (g *Group) Get(key string) (ByteView, error) {
	if key == "" {
		return ByteView{}, ErrEmptyKey
	}
	v, err := g.engine().View(context.Background(), key)
	return ByteView{v.String()}, err
}
