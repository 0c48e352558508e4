// Package dnspeers keeps the peers of a groupcache at what DNS says: the addresses of a name, such
// as that of a headless service of Kubernetes, or the records of a service (SRV).
//
//	cache, err := groupcache.New(groupcache.Options{Self: "http://" + podIP + ":8080"})
//	peers, err := dnspeers.Watch(ctx, cache, "users.default.svc.cluster.local", dnspeers.Options{Port: 8080})
//	defer peers.Close()
package dnspeers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/endpoints"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Instance is told of the peers: a *groupcache.Instance.
type Instance interface {
	// SetPeers replaces the peers by their addresses.
	SetPeers(addrs ...string) error
}

// Resolver looks names up: a *net.Resolver.
type Resolver interface {
	// LookupHost returns the addresses of a host.
	LookupHost(ctx context.Context, host string) ([]string, error)
	// LookupSRV returns the records of a service.
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// Options are a Watcher's choices. The zero value lacks either Port or Service.
type Options struct {
	// Name is the value of the metric label "client". Default: that of the instance, if it has a
	// method Name, as a groupcache.Instance has; else the name that is looked up.
	Name string
	// Port is that of all peers; needed without Service.
	Port int
	// Service is that of SRV records, which bring their own ports: "_service._tcp.name" is asked
	// for, or just the name if Service is "-". Default empty: the name's addresses are asked for.
	Service string
	// Scheme of the peers' URLs: "http", "https", or "none" for addresses without one, as peers
	// over gRPC have them. Default "http".
	Scheme string
	// Interval is the time between two look-ups, less up to a tenth of it by chance. Go's resolver
	// does not tell how long an answer holds. Default 5 s.
	Interval time.Duration
	// Timeout bounds a look-up. Default 2 s.
	Timeout time.Duration
	// Resolver looks names up. Default net.DefaultResolver.
	Resolver Resolver
	// Logger is told of changes and failures. Default nil, silent.
	Logger *slog.Logger
}

const (
	defaultInterval = 5 * time.Second
	defaultTimeout  = 2 * time.Second
	// bareAddress as Options.Scheme makes addresses without one.
	bareAddress = "none"
)

// ErrClosed is returned by Refresh after Close.
var ErrClosed = errors.New("dnspeers: the watcher is closed")

func (o Options) withDefaults() Options {
	if o.Scheme == "" {
		o.Scheme = "http"
	}
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return o
}

// check tells all that is wrong with options, before defaults.
func (o Options) check(name string) error {
	var bad []error
	reject := func(format string, args ...any) { bad = append(bad, fmt.Errorf("dnspeers: "+format, args...)) }
	if name == "" {
		reject("the name is empty: pass that of a host or a headless service")
	}
	if o.Service == "" && (o.Port < 1 || o.Port > 65535) {
		reject("Options.Port is %d: set the port of the peers, or Service for records that bring it", o.Port)
	}
	if o.Service != "" && o.Port != 0 {
		reject("Options.Port is %d, and Service %q: records of a service bring their own ports, leave one of them empty", o.Port, o.Service)
	}
	if o.Scheme != "" && o.Scheme != "http" && o.Scheme != "https" && o.Scheme != bareAddress {
		reject("Options.Scheme is %q: set http, https or none", o.Scheme)
	}
	for field, d := range map[string]time.Duration{"Interval": o.Interval, "Timeout": o.Timeout} {
		if d != 0 && d < time.Millisecond {
			reject("Options.%s is %v: set at least a millisecond, as 10*time.Second, or 0 for the default", field, d)
		}
	}
	return errors.Join(bad...)
}

// Stats are the state of a Watcher at one moment.
type Stats struct {
	// Peers are the URLs that were set last, ordered.
	Peers []string
	// Updated is when they were last confirmed by an answer; zero before the first.
	Updated time.Time
	// Lookups counts questions, Failures those without a usable answer; an empty one is a failure.
	// Changes counts new lists.
	Lookups, Failures, Changes uint64
	// Ignored is how many records of the last answer name no address that a peer can have, such as
	// one with port 0. They are left out.
	Ignored int
	// Err is why the last question failed, nil if it did not.
	Err error
}

// Watcher keeps the peers of an Instance up to date. Make it with Watch. It is safe for concurrent
// use.
type Watcher struct {
	instance Instance
	name     string
	options  Options
	metrics  *metrics.DNSPeers
	log      *slog.Logger
	life     context.Context // of the look-ups
	end      context.CancelFunc
	work     sync.WaitGroup
	asking   sync.Mutex // one look-up at a time

	mu    sync.Mutex
	stats Stats // guarded by mu
}

// Watch looks the name up, sets the peers, and goes on doing so until Close. It returns as soon as
// the first answer has come or ctx has ended; without an answer it goes on trying, and the error of
// the first try is in Stats. The error tells which option is wrong.
func Watch(ctx context.Context, instance Instance, name string, opts Options) (*Watcher, error) {
	if err := opts.check(name); err != nil {
		return nil, err
	}
	client := observe.NameOf(instance, opts.Name, name)
	w := &Watcher{
		instance: instance, name: name, options: opts.withDefaults(), metrics: metrics.NewDNSPeers(client), log: observe.Logger(opts.Logger, client),
	}
	w.life, w.end = context.WithCancel(context.WithoutCancel(ctx))
	_ = w.Refresh(ctx) // what went wrong is in Stats, and tried again
	w.work.Go(w.loop)
	return w, nil
}

func (w *Watcher) loop() {
	interval := w.options.Interval
	for backoff.Pause(w.life, interval-time.Duration(rand.Int64N(int64(interval)/10+1))) {
		_ = w.Refresh(w.life) // as in Watch
	}
}

// Refresh looks the name up now. A failed or empty answer leaves the peers as they are, and is the
// error.
//
//nolint:contextcheck // Close ends it, too
func (w *Watcher) Refresh(ctx context.Context) error {
	w.asking.Lock()
	defer w.asking.Unlock()
	if w.life.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	defer context.AfterFunc(w.life, cancel)()
	urls, err := w.lookUp(ctx)
	if err == nil {
		err = w.set(urls)
	}
	if w.life.Err() != nil {
		return ErrClosed
	}
	w.note(err)
	return err
}

// lookUp returns the base URLs of the peers, ordered.
func (w *Watcher) lookUp(ctx context.Context) ([]string, error) {
	records, err := endpoints.Question{Name: w.name, Port: w.options.Port, Service: w.options.Service}.Ask(ctx, w.options.Resolver)
	if err != nil && len(records) == 0 { // with records it says that others are malformed
		return nil, fmt.Errorf("dnspeers: look up %q: %w", w.name, err)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("dnspeers: look up %q: the answer is empty", w.name)
	}
	hosts := slices.DeleteFunc(slices.Clone(records), func(addr string) bool { return !endpoints.Usable(addr) })
	w.noteIgnored(len(records) - len(hosts))
	if len(hosts) == 0 {
		return nil, fmt.Errorf("dnspeers: look up %q: none of %d records names an address of a peer, the first is %.100q", w.name, len(records), records[0])
	}
	prefix := w.options.Scheme + "://"
	if w.options.Scheme == bareAddress {
		prefix = ""
	}
	urls := make([]string, len(hosts))
	for i, host := range hosts {
		if urls[i] = prefix + host; prefix != "" {
			urls[i] = prefix + strings.Replace(host, "%", "%25", 1) // a zone in a URL (RFC 6874)
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls), nil
}

// noteIgnored takes note of records that are left out, and says so in the log when there is news of
// it.
func (w *Watcher) noteIgnored(n int) {
	w.mu.Lock()
	before := w.stats.Ignored
	w.stats.Ignored = n
	w.mu.Unlock()
	if n > 0 && before == 0 {
		w.log.Warn("dnspeers: records that name no address of a peer are left out", "records", n)
	}
}

// set tells the instance, if anything has changed.
func (w *Watcher) set(urls []string) error {
	w.mu.Lock()
	same := slices.Equal(urls, w.stats.Peers)
	w.mu.Unlock()
	if same {
		return nil
	}
	if err := w.instance.SetPeers(urls...); err != nil {
		return err
	}
	w.log.Info("dnspeers: the peers have changed", "peers", len(urls))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Peers = urls
	w.stats.Changes++
	return nil
}

func (w *Watcher) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.stats.Err
	w.stats.Lookups++
	w.stats.Err = err
	if err == nil {
		w.stats.Updated = time.Now()
		return
	}
	w.stats.Failures++
	if before == nil {
		w.log.Warn("dnspeers: the peers stay as they are", observe.Cause(err))
	}
}

// Stats are the state of the watcher.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Peers = slices.Clone(s.Peers)
	return s
}

// Close ends the look-ups. The peers stay as they are. It returns nil.
func (w *Watcher) Close() error {
	w.end()
	w.work.Wait()
	return nil
}
