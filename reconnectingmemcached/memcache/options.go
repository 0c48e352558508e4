package memcache

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
	"github.com/holdfast-go/holdfast/trace"
)

// Overflow says what happens on re-admission when more writes were missed than the log of missed
// writes holds.
type Overflow int

const (
	// AcceptStale re-admits the server although old values of keys that did not fit the log may be
	// served until they expire. It is counted in holdfast_memcached_missed_invalidations_lost_total
	// and logged.
	AcceptStale Overflow = iota
	// FlushServer empties the server before it is re-admitted. Only for servers that no other
	// application uses.
	FlushServer
)

// Options are the choices of [NewWithOptions]. The zero value works.
type Options struct {
	// Name is the client's name in metrics and logs. Default: "memcached", then "memcached-2" and
	// so on within the process.
	Name string

	// Servers are the addresses, "host:port" or the path of a unix socket, used when the selector
	// is nil. Hash says which of them a key goes to. A server is one address of its name at a time;
	// names are resolved again each ResolveInterval, when a dial fails and before a probe. No
	// default.
	Servers []string

	// Source names the servers in the place of Servers, and may change its mind. It is asked at the
	// client's first use, whose calls wait for its first answer or failure, and each
	// SourceInterval. An answer takes effect when it was repeated after a second; one that keeps at
	// most half of the servers, for a minute. Failures and empty answers change nothing. Default
	// nil.
	Source Lister

	// SourceInterval is how often Source is asked, by chance a tenth sooner or later: a millisecond
	// at least. Default 10 s.
	SourceInterval time.Duration

	// HandOver is how long after a change of the list by Source a miss is asked of the server that
	// had the key before. What that has is returned, with CasID 0, and copied. Writes delete at all
	// servers that had the key by former lists: the latest that have 2 000 names together, but
	// eight at least. They do so at servers that left for HandOver and twice SourceInterval, 10 s
	// at least, as another process may have heard of the change later. Keys that NoReplay exempts
	// are left alone. Default 0: 10 min; negative: none of this.
	HandOver time.Duration

	// Hash places keys on the servers of Servers or Source. Default [CRC], as gomemcache.
	Hash Hash

	// Timeout bounds a whole call: dialling, queueing, one retry, and the questions to other
	// servers that Gutter and HandOver lead to. Default 500 ms.
	Timeout time.Duration

	// MaxIdleConns bounds the private connections (large values) kept per server. All other calls
	// share one connection per server. Default 64.
	MaxIdleConns int

	// MaxInFlight bounds the calls under way per server, queued ones included; more fail fast with
	// [ErrBusy]. Default 0: no bound; calls queue until Timeout, and wait for room while 8 MiB of
	// requests are queued.
	MaxInFlight int

	// MaxItemSize is the largest value accepted from a server, in bytes; larger ones fail with
	// [ErrItemTooLarge]. Default 128 MiB.
	MaxItemSize int

	// DialContext opens connections, as in gomemcache; it must honour its context. It is given a
	// server's address as configured, so names may be host names, as TLS needs them; a connection
	// that it makes to another IP address than the server's others go to is not used. What it
	// returns must have NetConn, SetLinger or SyscallConn, as package net's and TLS connections do,
	// to be reset when it is given up; others can only be closed. Default: a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS encrypts all connections but those to unix sockets, on top of DialContext. An empty
	// ServerName stands for the host in each server's address. Default nil: plain.
	TLS *tls.Config

	// Credentials returns what to log in with at a memcached that was started with -Y. It is asked
	// at each dial, within Timeout, and once more if its answer is refused: the password may have
	// changed meanwhile. Connections that are logged in stay so. The address is the server's as
	// configured. Neither part may have a space or a line break. It may be called by several
	// goroutines at once. Default nil: no login.
	Credentials func(ctx context.Context, addr string) (user, password string, err error)

	// ResolveInterval is how often host names are looked up while in use. With a DialContext, which
	// does that itself, a connection is opened and closed; if it and seven more go to one other
	// address, the server has moved there. At least a millisecond. Default 30 s; negative: only
	// when a dial fails, and before probes.
	ResolveInterval time.Duration

	// HangTimeout is how long a server may leave several callers without a byte before it is taken
	// for hung, if a fresh connection is silent, too. Default 0: a fifth of Timeout, but at least
	// 60 ms and three times what the server usually takes to answer, and at most Timeout. Negative:
	// off, calls end with Timeout.
	HangTimeout time.Duration

	// ProbeTimeout bounds one probe of a server that is down: look-up, dial, TLS handshake and two
	// replies. Default 0: 100 ms, or eight times what the server usually took to answer, and twice
	// Timeout for every other probe.
	ProbeTimeout time.Duration

	// ConsecutiveFailures opens a server's breaker after that many connection errors in a row,
	// refused dials included. Default 0: one refused dial or three time-outs in a row open it. Hang
	// detection applies either way.
	ConsecutiveFailures int

	// ReportUnavailable makes reads tell a server that is down from a miss: Get and GetAndTouch
	// return a [*ServerDownError], GetMulti the partial map and the joined errors. Default false: a
	// miss, and the partial map with a nil error.
	ReportUnavailable bool

	// Overflow says what to do when more than 65 536 keys (or 16 MiB of them) were missed. Default
	// AcceptStale.
	Overflow Overflow

	// NoReplay exempts keys from the deletion of missed writes at re-admission, such as locks
	// written with Set. Default: none.
	NoReplay func(key string) bool

	// KeepCanceledSets leaves the key of a Set alone whose context has ended before its answer. The
	// server may have the new value or an old one then, until it expires; for caches whose users
	// often leave early. Default false: it is deleted, so that it is a miss.
	KeepCanceledSets bool

	// Gutter keeps the keys of a server that is down on others for a while. Default: off.
	Gutter Gutter

	// PlainGet asks with get instead of gets, for proxies that refuse that, as mcrouter does with
	// replication. The CasID of items is 0 then, and CompareAndSwap fails. Default false.
	PlainGet bool

	// Linger is how long after the re-admission of a server its keys are still read from their
	// copies in the Gutter, or are misses without one. Another process may re-admit it later, and
	// delete only then what it missed from that: until then its old values would be read here.
	// Default 0: 2 s with a Gutter, else none; negative: none.
	Linger time.Duration

	// Logger gets state changes and lost invalidations. Default nil: silent, but for one warning,
	// through slog.Default(), of a client whose servers have given it no answer yet, 5 s after the
	// first failure: its addresses may be wrong.
	Logger *slog.Logger

	// Trace is called for each request to a server, when it begins and when it ends, but not for
	// requests of the client's own, such as probes. Default nil: none, which costs nothing.
	Trace trace.Tracer
}

const (
	defaultIdleConns       = server.LeastSlots
	defaultMaxItemSize     = 128 << 20
	defaultResolveInterval = 30 * time.Second
	defaultSourceInterval  = 10 * time.Second
	defaultHandOver        = 10 * time.Minute
	// leastInterval bounds all intervals: a bare number counts nanoseconds.
	leastInterval = time.Millisecond
	// longestLimit is what a longer Timeout or ProbeTimeout counts as: so far from the end of time
	// that limits can be added up.
	longestLimit = 365 * 24 * time.Hour
)

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	o.Timeout, o.ProbeTimeout = min(o.Timeout, longestLimit), min(o.ProbeTimeout, longestLimit)
	if o.MaxIdleConns <= 0 {
		o.MaxIdleConns = defaultIdleConns
	}
	if o.MaxItemSize == 0 {
		o.MaxItemSize = defaultMaxItemSize
	}
	if o.ResolveInterval == 0 {
		o.ResolveInterval = defaultResolveInterval
	}
	if o.SourceInterval == 0 {
		o.SourceInterval = defaultSourceInterval
	}
	o.SourceInterval = min(o.SourceInterval, longestLimit)
	if o.HandOver == 0 {
		o.HandOver = defaultHandOver
	}
	o.HandOver = max(min(o.HandOver, longestLimit), -1)
	o.Gutter = o.Gutter.withDefaults()
	if o.Linger == 0 && o.Gutter.Expiration > 0 {
		o.Linger = defaultLinger
	}
	o.Linger = min(max(o.Linger, 0), longestLimit)
	return o
}

func (o Options) validate() error {
	for _, n := range []struct {
		field string
		value int64
	}{
		{"Timeout", int64(o.Timeout)},
		{"ProbeTimeout", int64(o.ProbeTimeout)},
		{"SourceInterval", int64(o.SourceInterval)},
		{"MaxIdleConns", int64(o.MaxIdleConns)},
		{"MaxInFlight", int64(o.MaxInFlight)},
		{"MaxItemSize", int64(o.MaxItemSize)},
		{"ConsecutiveFailures", int64(o.ConsecutiveFailures)},
	} {
		if n.value < 0 {
			return fmt.Errorf("memcache: Options.%s is %d: it must not be negative; 0 is the default", n.field, n.value)
		}
	}
	for _, interval := range []struct {
		field string
		value time.Duration
	}{
		{"SourceInterval", o.SourceInterval},
		{"ResolveInterval", o.ResolveInterval},
		{"Gutter.Beacon", o.Gutter.Beacon},
	} {
		if interval.value > 0 && interval.value < leastInterval {
			return fmt.Errorf("memcache: Options.%s is %v: use at least %v; 0 is the default", interval.field, interval.value, leastInterval)
		}
	}
	if o.Overflow != AcceptStale && o.Overflow != FlushServer {
		return fmt.Errorf("memcache: Options.Overflow is %d: use AcceptStale or FlushServer", o.Overflow)
	}
	if o.Hash < CRC || o.Hash > Ketama {
		return fmt.Errorf("memcache: Options.Hash is %d: use CRC, Rendezvous or Ketama", o.Hash)
	}
	return o.Gutter.validate()
}

// Lister names the servers of a client, as those of package memcachedservers do. It must honour its
// context. It is not called by two goroutines at once for one client.
type Lister interface {
	// List returns all servers, "host:port" or paths of unix sockets. Names should be those that a
	// server keeps when it comes back: keys are placed by them, and in their order if Options.Hash
	// is CRC.
	List(ctx context.Context) ([]string, error)
}
