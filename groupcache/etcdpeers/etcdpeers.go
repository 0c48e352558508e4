// Package etcdpeers keeps the peers of a groupcache at what etcd lists, and this process on that
// list.
//
//	cache, err := groupcache.New(groupcache.Options{Self: "http://" + podIP + ":8080"})
//	peers, err := etcdpeers.Watch(ctx, cache, "groupcache", etcdpeers.Options{Self: podIP + ":8080", Scheme: "http"})
//	defer peers.Close()
//
// A process is registered under the key "service/host:port" with the value
// {"Op":0,"Addr":"host:port","Metadata":null} and a lease. This is how the package naming/endpoints
// of etcd's client lays out the endpoints of gRPC: programs that use that see our processes, and
// ours see theirs.
//
// # When peers are dropped
//
// A peer that etcd removes while all is well, because it has deregistered or its lease has expired,
// is dropped at once. After trouble the list cannot be trusted to be whole: an etcd that was hung
// expires the leases of all processes as it goes on, one whose data was lost knows nobody until
// they have registered again. So for the length of a lease (Options.TTL) after each of the
// following, peers are added and none is dropped:
//   - the watch has broken off and the list was asked for again, for whatever reason;
//   - nothing was heard from etcd for half the length of a lease, which is too short for a lease to
//     expire of that;
//   - the own registration has vanished.
//
// A list without any peer drops nobody, ever.
package etcdpeers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Stats are the state of a Watcher at one moment.
type Stats struct {
	// Peers are those that were set last, ordered, with Options.Scheme.
	Peers []string
	// Updated is when etcd last confirmed its list; zero before the first time.
	Updated time.Time
	// Connected says that etcd answers and the list is followed. Registered says that this process
	// is on the list, as far as it knows: its lease has not run out.
	Connected, Registered bool
	// Listed is how many entries etcd's list has: fewer than there are peers while some are kept
	// that are not on it. Ignored is how many more it has that name no usable address.
	Listed, Ignored int
	// Registrations counts how often this process has put itself on the list: once, and again
	// whenever it was lost. Changes counts new lists of peers. Failures counts tries to connect, to
	// follow the list or to register that etcd did not answer, or refused.
	Registrations, Changes, Failures uint64
	// Relists counts how often the list was asked for again, by cause: one of the constants Cause….
	Relists map[string]uint64
	// Err is the present trouble: with the list, the registration or the instance, joined; nil if
	// nothing.
	Err error
}

// Watcher keeps the peers of an Instance up to date. Make it with Watch. It is safe for concurrent
// use.
type Watcher struct {
	instance Instance
	service  string
	options  Options
	metrics  *metrics.EtcdPeers
	log      *slog.Logger
	life     context.Context // of all goroutines and their requests
	end      context.CancelFunc
	work     sync.WaitGroup
	closing  func() error // ends it, once

	tried     chan struct{} // closed once the first list was set, or could not be had
	triedOnce sync.Once
	changed   chan struct{} // has room for one: the list may have changed
	missing   chan struct{} // has room for one: the own registration is not on the list
	doubted   chan struct{} // has room for one: the list is to be asked for again

	client *clientv3.Client
	link   link             // of the client, unless it is the caller's
	lease  clientv3.LeaseID // of the registering goroutine, and of Close when that has ended

	mu          sync.Mutex
	stats       Stats            // guarded by mu; some of it is filled in by Stats
	entries     map[string]entry // guarded by mu; what etcd lists, by key; nil before the first list
	published   []string         // guarded by mu; the addresses that were set last, ordered
	dropFrom    time.Time        // guarded by mu; before that nobody is dropped
	leaseEnds   time.Time        // guarded by mu; when the lease runs out unless it is renewed; zero without registration
	followErr   error            // guarded by mu
	registerErr error            // guarded by mu
	publishErr  error            // guarded by mu
}

// Watch registers this process with etcd, sets the peers, and goes on doing so until Close. It
// returns as soon as the first list was set, the first try to get one has failed, or ctx has ended;
// without an answer it goes on trying, and the error of the last try is in Stats. Call it when this
// process answers its peers, and Close before it ceases to: they ask it as soon as they see it. The
// error tells which options are wrong.
//
//nolint:contextcheck // Close ends what it starts
func Watch(ctx context.Context, instance Instance, service string, opts Options) (*Watcher, error) {
	opts = opts.withDefaults()
	if err := opts.check(instance, service); err != nil {
		return nil, err
	}
	client := observe.NameOf(instance, opts.Name, service)
	w := &Watcher{
		metrics: metrics.NewEtcdPeers(client), log: observe.Logger(opts.Logger, client),
		instance: instance, service: service, options: opts, tried: make(chan struct{}),
		changed: make(chan struct{}, 1), missing: make(chan struct{}, 1), doubted: make(chan struct{}, 1),
		stats: Stats{Relists: make(map[string]uint64)},
	}
	var err error
	if w.client, err = opts.connect(&w.link); err != nil {
		return nil, fmt.Errorf("etcdpeers: %w", err)
	}
	w.life, w.end = context.WithCancel(context.WithoutCancel(ctx))
	w.closing = sync.OnceValue(w.shut)
	w.work.Go(w.publish)
	w.work.Go((&follower{watcher: w}).run)
	if opts.Self != "" {
		w.work.Go((&registrar{watcher: w}).run)
	}
	select {
	case <-w.tried:
	case <-ctx.Done():
	}
	return w, nil
}

// request returns the context of one request to etcd.
func (w *Watcher) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return w.requestWithin(ctx, w.options.patience())
}

// requestWithin ends a request also when the caller has closed his client: that would try it a
// hundred times.
func (w *Watcher) requestWithin(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(w.client.Ctx(), cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// settled lets Watch return.
func (w *Watcher) settled() { w.triedOnce.Do(func() { close(w.tried) }) }

// lost notes that etcd has not answered. The peers stay as they are.
func (w *Watcher) lost(err error) {
	err = w.link.explain(err)
	w.mu.Lock()
	before := w.followErr
	w.followErr = err
	w.stats.Connected = false
	w.stats.Failures++
	peers := len(w.published)
	w.mu.Unlock()
	if before == nil {
		w.log.Warn("etcdpeers: etcd is away, the peers stay as they are", "peers", peers, observe.Cause(err))
	}
	w.settled()
}

// found notes that etcd answers and the list is followed.
func (w *Watcher) found() {
	w.mu.Lock()
	before := w.followErr
	w.followErr, w.stats.Connected = nil, true
	w.mu.Unlock()
	if before != nil {
		w.log.Info("etcdpeers: etcd answers again")
	}
}

// Stats are the state of the watcher.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Peers = w.options.urls(w.published)
	s.Registered = time.Now().Before(w.leaseEnds)
	s.Relists = maps.Clone(s.Relists)
	s.Err = errors.Join(w.followErr, w.registerErr, w.publishErr)
	return s
}

// Close takes this process off the list and ends everything. The peers stay as they are. It takes
// Options.Timeout at most; the error is that of etcd, which then takes this process off the list
// when the lease runs out. It may be called more than once.
func (w *Watcher) Close() error { return w.closing() }

func (w *Watcher) shut() error {
	w.end()
	w.work.Wait()
	err := w.deregister()
	if w.options.Client == nil {
		err = errors.Join(err, w.client.Close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Connected, w.leaseEnds = false, time.Time{}
	return err
}
