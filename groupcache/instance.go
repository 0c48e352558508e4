package groupcache

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/holdfast-go/holdfast/groupcache/internal/answers"
	"github.com/holdfast-go/holdfast/groupcache/internal/cluster"
	"github.com/holdfast-go/holdfast/groupcache/internal/process"
	"github.com/holdfast-go/holdfast/groupcache/internal/report"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// An Instance is this process among its peers: it owns groups, peers and metrics. Several of them
// may live in one process. The package-level functions work on a default Instance that is never
// closed. An Instance is a prometheus.Collector. It is safe for concurrent use.
type Instance struct {
	options Options
	metrics *metrics.Groupcache
	process *process.Process
	pool    *cluster.Cluster // the peers of SetPeers
	forgets atomic.Uint64

	mu        sync.RWMutex
	groups    map[string]*Group                 // guarded by mu
	former    report.Totals                     // of groups that are no more; guarded by mu
	retired   []weak.Pointer[Group]             // groups that are no more, but may be used yet; guarded by mu
	pools     []*cluster.Cluster                // all that serve this instance's groups; guarded by mu
	pick      func(groupName string) PeerPicker // nil: pool; guarded by mu
	onGroup   func(*Group)                      // guarded by mu
	onServer  func()                            // guarded by mu
	serverRun bool                              // onServer has been called; guarded by mu
}

// New makes an Instance without peers. It opens no port: mount Handler at Options.BasePath, then
// call SetPeers. The error tells which option is wrong.
func New(opts Options) (*Instance, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	return newInstance(opts.withDefaults(), time.Now)
}

func newInstance(o Options, now func() time.Time) (*Instance, error) {
	log := observe.Logger(o.Logger, o.Name)
	i := &Instance{options: o, metrics: metrics.NewGroupcache(o.Name), groups: make(map[string]*Group)}
	i.process = process.New(process.Options{
		Now: now, Log: log, Tracer: tracing.New(o.Trace, trace.Groupcache, o.Name, log), Handover: o.Handover,
	}, o.limits())
	var err error
	if i.pool, err = i.addPool(o.Self, o); err != nil {
		return nil, err
	}
	return i, nil
}

// addPool makes a pool of peers that is served by this instance's groups.
func (i *Instance) addPool(self string, o Options) (*cluster.Cluster, error) {
	p, err := cluster.New(o.cluster(self), &answers.Local{
		Process: i.process,
		Group: func(name string) *answers.Group {
			if g := i.Group(name); g != nil {
				return &g.parts
			}
			return nil
		},
		Forgetting: i.forget,
	})
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pools = append(i.pools, p)
	return p, nil
}

// forget drops all values: a peer has made writes that this process was not told of, because the
// peer did not know it.
func (i *Instance) forget() {
	for _, g := range i.Groups() {
		g.parts.Writer.Drop()
	}
	i.forgets.Add(1)
}

// Name is the instance's name in metrics and logs: Options.Name or its default.
func (i *Instance) Name() string { return i.options.Name }

// SetPeers replaces the peers: their base URLs, this process's own among them, such as
// http://10.0.0.1:8080. All peers must be given the same list, in any order. Those that stay keep
// their connections. With a bad URL nothing changes.
func (i *Instance) SetPeers(urls ...string) error { return i.pool.SetAll(urls) }

// Handler serves the requests of peers. Mount it at Options.BasePath.
func (i *Instance) Handler() http.Handler { return i.pool.Server }

// NewGroup makes a group of this instance. The budget is in bytes, for all the group's values in
// this process; 0 caches nothing, but still loads a key once for all callers that ask at the same
// time. Peers know the group by its name, which is unique within the instance.
func (i *Instance) NewGroup(name string, cacheBytes int64, getter Getter, opts ...GroupOption) (*Group, error) {
	switch {
	case getter == nil:
		return nil, fmt.Errorf("groupcache: group %s has no Getter: pass what loads its values", observe.Quote(name))
	case cacheBytes < 0:
		return nil, fmt.Errorf("groupcache: group %s: cacheBytes is %d: set a budget in bytes, or 0 to cache nothing", observe.Quote(name), cacheBytes)
	}
	g := newGroup(i.process, name, cacheBytes, getter, opts, func(own PeerPicker) route.Router { return i.routerFor(name, own) })
	i.mu.Lock()
	if i.process.Closed() {
		i.mu.Unlock()
		return nil, ErrClosed
	}
	if i.groups[name] != nil {
		i.mu.Unlock()
		return nil, fmt.Errorf("groupcache: there is a group %s already: each needs a name of its own", observe.Quote(name))
	}
	i.groups[name] = g
	onServer := i.onServer
	if i.serverRun {
		onServer = nil
	}
	i.serverRun = true
	onGroup := i.onGroup
	i.mu.Unlock()
	if onServer != nil {
		onServer()
	}
	if onGroup != nil {
		onGroup(g)
	}
	return g, nil
}

// Group is the group of a name, nil if there is none.
func (i *Instance) Group(name string) *Group {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.groups[name]
}

// Groups are all groups, by name.
func (i *Instance) Groups() []*Group {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.groupsLocked()
}

func (i *Instance) groupsLocked() []*Group {
	return slices.SortedFunc(maps.Values(i.groups), func(a, b *Group) int { return strings.Compare(a.Name(), b.Name()) })
}

// Deregister forgets a group: peers are told that there is none. Code that holds the group may go
// on using it.
func (i *Instance) Deregister(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.groups[name]
	if g == nil {
		return
	}
	i.former.Add(&g.parts)
	delete(i.groups, name)
	i.retired = slices.DeleteFunc(i.retired, func(p weak.Pointer[Group]) bool { return p.Value() == nil })
	i.retired = append(i.retired, weak.Make(g))
}

// routerFor is the router of a group, whose own PeerPicker is nil if it has none.
func (i *Instance) routerFor(name string, own PeerPicker) route.Router {
	i.mu.RLock()
	pick := i.pick
	i.mu.RUnlock()
	switch {
	case own != nil:
		return routerOf(own)
	case pick == nil:
		return route.Ours(i.pool.Pool)
	}
	if p := pick(name); p != nil {
		return routerOf(p)
	}
	return routerOf(NoPeers{})
}

// registerPicker sets what makes the PeerPicker of groups that have none of their own.
func (i *Instance) registerPicker(fn func(string) PeerPicker) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pick != nil {
		panic("groupcache: a peer picker is registered already: call RegisterPeerPicker, RegisterPerGroupPeerPicker, NewHTTPPool or NewHTTPPoolOpts once")
	}
	i.pick = fn
}

func (i *Instance) registerGroupHook(fn func(*Group)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.onGroup != nil {
		panic("groupcache: RegisterNewGroupHook was called before: it takes one function")
	}
	i.onGroup = fn
}

func (i *Instance) registerServerStart(fn func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.onServer != nil {
		panic("groupcache: RegisterServerStart was called before: it takes one function")
	}
	i.onServer = fn
}

// Close cancels all loads under way and ends what runs in the background; it waits for both. Peers
// are then told that there is no such group, and every method that could wait returns ErrClosed.
func (i *Instance) Close() error {
	groups, pools, first := i.close()
	if !first {
		i.process.Wait()
		return nil
	}
	i.process.End()
	for _, g := range groups {
		g.parts.Close()
	}
	for _, g := range groups {
		g.parts.Wait()
	}
	i.process.Wait()
	for _, p := range pools {
		p.Close()
	}
	return nil
}

// close takes the groups away, and returns them with those that may be used yet.
func (i *Instance) close() (groups []*Group, pools []*cluster.Cluster, first bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.process.Close() {
		return nil, nil, false
	}
	groups = slices.Collect(maps.Values(i.groups))
	i.groups = make(map[string]*Group)
	for _, g := range groups {
		i.former.Add(&g.parts)
	}
	for _, p := range i.retired {
		if g := p.Value(); g != nil {
			groups = append(groups, g)
		}
	}
	return groups, i.pools, true
}
