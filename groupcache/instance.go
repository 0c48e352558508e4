package groupcache

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"

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
	pool    *pool // the peers of SetPeers
	now     func() time.Time
	rules   atomic.Pointer[rules]
	forgets atomic.Uint64
	life    context.Context // of what runs in the background
	end     context.CancelFunc
	work    sync.WaitGroup

	histograms histograms
	log        *slog.Logger
	tracer     *tracing.Tracer // nil if there is none

	mu        sync.RWMutex
	groups    map[string]*Group                 // guarded by mu
	former    groupTotals                       // of groups that are no more; guarded by mu
	retired   []weak.Pointer[Group]             // groups that are no more, but may be used yet; guarded by mu
	closed    bool                              // guarded by mu
	pools     []*pool                           // all that serve this instance's groups; guarded by mu
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
	i := &Instance{options: o, now: now, groups: make(map[string]*Group)}
	i.rules.Store(rulesOf(o))
	i.life, i.end = context.WithCancel(context.Background())
	i.log = observe.Logger(o.Logger, o.Name)
	i.tracer = tracing.New(o.Trace, trace.Groupcache, o.Name, i.log)
	i.metrics, i.histograms = metrics.NewGroupcache(o.Name), newHistograms()
	var err error
	if i.pool, err = i.newPool(o.Self, o); err != nil {
		return nil, err
	}
	return i, nil
}

// rules are the options that groups ask for. Those of the default instance come with its pool.
type rules struct {
	maxValueSize int64
	setOwnerOnly bool
}

func rulesOf(o Options) *rules { return &rules{o.MaxValueSize, o.SetOwnerOnly} }

// maxValueSize bounds values in bytes.
func (i *Instance) maxValueSize() int64 { return i.rules.Load().maxValueSize }

// setOwnerOnly says that a Set tells only the owner.
func (i *Instance) setOwnerOnly() bool { return i.rules.Load().setOwnerOnly }

// Name is the instance's name in metrics and logs: Options.Name or its default.
func (i *Instance) Name() string { return i.options.Name }

// SetPeers replaces the peers: their base URLs, this process's own among them, such as
// http://10.0.0.1:8080. All peers must be given the same list, in any order. Those that stay keep
// their connections. With a bad URL nothing changes.
func (i *Instance) SetPeers(urls ...string) error { return i.pool.setPeers(urls) }

// PeerPicker is what says which of the peers owns a key.
func (i *Instance) PeerPicker() PeerPicker { return &HTTPPool{i.pool} }

// Handler serves the requests of peers. Mount it at Options.BasePath.
func (i *Instance) Handler() http.Handler { return i.pool.server }

// NewGroup makes a group of this instance. The budget is in bytes, for all the group's values in
// this process; 0 caches nothing, but still loads a key once for all who ask at the same time.
// Peers know the group by its name, which is unique within the instance.
func (i *Instance) NewGroup(name string, cacheBytes int64, getter Getter, opts ...GroupOption) (*Group, error) {
	switch {
	case getter == nil:
		return nil, fmt.Errorf("groupcache: group %s has no Getter: pass what loads its values", observe.Quote(name))
	case cacheBytes < 0:
		return nil, fmt.Errorf("groupcache: group %s: cacheBytes is %d: set a budget in bytes, or 0 to cache nothing", observe.Quote(name), cacheBytes)
	}
	g := newGroup(i, name, cacheBytes, getter, opts)
	i.mu.Lock()
	if i.closed {
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
	all := make([]*Group, 0, len(i.groups))
	for _, g := range i.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *Group) int { return strings.Compare(a.name, b.name) })
	return all
}

// Deregister forgets a group: peers are told that there is none. Those who hold the group may go on
// using it.
func (i *Instance) Deregister(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.groups[name]
	if g == nil {
		return
	}
	i.former.add(g)
	delete(i.groups, name)
	i.retired = slices.DeleteFunc(i.retired, func(p weak.Pointer[Group]) bool { return p.Value() == nil })
	i.retired = append(i.retired, weak.Make(g))
}

// pickerFor is the PeerPicker of a group that has none of its own.
func (i *Instance) pickerFor(name string) PeerPicker {
	i.mu.RLock()
	pick := i.pick
	i.mu.RUnlock()
	if pick == nil {
		return &HTTPPool{i.pool}
	}
	if p := pick(name); p != nil {
		return p
	}
	return NoPeers{}
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

// spawn runs fn in the background, unless the instance is closed.
func (i *Instance) spawn(fn func()) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.closed {
		return false
	}
	i.work.Go(fn)
	return true
}

func (i *Instance) isClosed() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.closed
}

// getterPanicked logs a panic of a Getter, and is the error of its load.
func (i *Instance) getterPanicked(key string, cause any) error {
	if cause == nil {
		return fmt.Errorf("%w: it ended its goroutine", ErrGetterPanicked)
	}
	i.log.Error("groupcache: a getter panicked", "key", observe.Cut(key), "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	return fmt.Errorf("%w: %v", ErrGetterPanicked, cause)
}

// Close cancels all loads under way and ends what runs in the background; it waits for both. Peers
// are then told that there is no such group, and every method that could wait returns ErrClosed.
func (i *Instance) Close() error {
	i.mu.Lock()
	if i.closed {
		i.mu.Unlock()
		i.work.Wait()
		return nil
	}
	i.closed = true
	pools := i.pools
	groups := slices.Collect(maps.Values(i.groups))
	i.groups = make(map[string]*Group)
	for _, g := range groups {
		i.former.add(g)
	}
	for _, p := range i.retired {
		if g := p.Value(); g != nil {
			groups = append(groups, g)
		}
	}
	i.mu.Unlock()
	i.end()
	for _, g := range groups {
		g.loads.Close()
		g.fetches.Close()
	}
	for _, g := range groups {
		g.loads.Wait()
		g.fetches.Wait()
	}
	i.work.Wait()
	for _, p := range pools {
		p.close()
	}
	return nil
}
