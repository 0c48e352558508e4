package sentinel

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/replica"
	"github.com/holdfast-go/holdfast/sentinel/internal/watch"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
	"github.com/holdfast-go/holdfast/trace"
)

// Mode says when a client follows a failover.
type Mode int

const (
	// Eager fences writes when sentinels select a replica, and moves to it as soon as it says that
	// it is the primary, about a second before it is announced. Should the leading sentinel die
	// within that second, the failover may be undone, and the writes made meanwhile are lost.
	Eager = Mode(follow.Eager)
	// FenceOnly fences writes as Eager does, but moves only once the change is announced: a second
	// without writes instead.
	FenceOnly = Mode(follow.FenceOnly)
	// PushOnly fences nothing and moves once the change is announced. The old primary acknowledges
	// writes until then, which are lost.
	PushOnly = Mode(follow.PushOnly)
)

// String is the name of the constant.
func (m Mode) String() string {
	names := []string{"Eager", "FenceOnly", "PushOnly"}
	if m < 0 || int(m) >= len(names) {
		return "Mode(" + strconv.Itoa(int(m)) + ")"
	}
	return names[m]
}

// ReplicaPolicy says which of the healthy replicas serves a DoReplica.
type ReplicaPolicy int

const (
	// Random picks any.
	Random = ReplicaPolicy(replica.Random)
	// RoundRobin takes turns.
	RoundRobin = ReplicaPolicy(replica.RoundRobin)
	// LowestLatency picks one of those that answered their last heartbeats fastest: any of those
	// that are within 20 %, or 0.1 ms, of the least.
	LowestLatency = ReplicaPolicy(replica.LowestLatency)
)

// Endpoint says how to reach one kind of process. The zero value dials plain TCP without
// credentials.
type Endpoint struct {
	// Dial opens a network connection. The address is host:port as configured or as the sentinels
	// name it, after AddrMap. Default: a net.Dialer, which looks host names up at each dial.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS encrypts; an empty ServerName is filled in from the address. Default nil: plain.
	TLS *tls.Config
	// Username and Password log in. A password alone is that of the default user; a user alone is
	// one with nopass. Default: no login.
	Username, Password string
	// Credentials returns user and password, in place of Username and Password, where they change:
	// it is asked at each dial, within Options.DialTimeout, and again at each
	// CredentialsRefresh; the address is as the sentinels name it. If they are refused at a dial it
	// is asked once more. Both empty: no login. It may be called by several goroutines at once.
	// Default nil.
	Credentials func(ctx context.Context, addr string) (user, password string, err error)
	// CredentialsRefresh is how often Credentials is asked for the connections that live: if the
	// answer is another than before they log in anew, between commands and without losing one. It
	// must come before a token ends. A refusal leaves the login as it is. A connection that one
	// caller uses alone logs in anew before the next; a subscription keeps the login that it began
	// with, and if the server ends it is made anew with another. Negative: never. Default 1 min.
	CredentialsRefresh time.Duration
	// OnConnect is called with each new connection once it has logged in, before anything else is
	// sent on it, within Options.DialTimeout: an error ends the connection. It must leave nothing
	// behind that a command of another caller could meet. Default nil.
	OnConnect func(ctx context.Context, addr string, conn radix.Conn) error
}

// Options are a client's choices. The zero value lacks only Names.
type Options struct {
	// Names are the primaries to follow, as the sentinels call them. At least one.
	Names []string
	// Servers are the servers of the one name, as host:port, where there are no sentinels: New is
	// given none then. Each is asked for its role ten times a second; a promotion is followed when
	// it is seen. A host name stands for all its addresses, and is looked up each second. See
	// docs/sentinel.md for what this cannot know. Default nil.
	Servers []string
	// LookupHost finds the addresses of the host names in Servers. Default: net.DefaultResolver's.
	LookupHost func(ctx context.Context, host string) (addrs []string, err error)
	// Name is the value of the metric label "client", unique by default: "sentinel", "sentinel-2",
	// ….
	Name string
	// Mode says when to follow a failover. Default Eager.
	Mode Mode
	// FenceWait is how long a write waits for the end of a failover before it fails with
	// ErrFailover; its context may end it earlier. Negative fails at once. Default 250 ms.
	FenceWait time.Duration
	// StartDown makes New return a client although nothing answers yet; it heals by itself. Bad
	// options and a Password that is refused still fail; Credentials may return better ones next
	// time. Default false.
	StartDown bool

	// Server says how to reach primaries and replicas, Sentinel how to reach sentinels. Credentials
	// are never taken from one to the other.
	Server, Sentinel Endpoint
	// ClientName is the name by which servers and sentinels list the connections (CLIENT SETNAME),
	// beside the library's name, which redis 7.2 and later know. Default empty: neither is sent.
	ClientName string
	// DB is the database of the servers. Default 0.
	DB int
	// Protocol is 3 to speak RESP3 to the servers, which redis 6 and later know, or 2. Default 2.
	Protocol int
	// AddrMap translates addresses that sentinels name, for networks where they are not reachable
	// as such. Default nil: as they are.
	AddrMap func(addr string) string
	// Allow lists the addresses, before AddrMap, that may become primary. A sentinel's word is not
	// enough for others. Default nil: any that a majority of the sentinels names.
	Allow []string

	// DialTimeout bounds each connect with its login. Default 1 s.
	DialTimeout time.Duration
	// HeartbeatTimeout is how long a primary may send nothing at all while it owes answers, before
	// new calls are refused. A primary stalls when it forks or runs a slow script: raise this if
	// yours do so for long, and calls may wait for them. A connection that owes an answer for so
	// long, while the server answers on another, is ended and replaced, but for blocking commands.
	// At least 100 ms. Default 300 ms.
	HeartbeatTimeout time.Duration
	// StallTimeout is how long the calls that are under way live on once a primary sends nothing:
	// after HeartbeatTimeout only new calls are refused, and a primary that awakes in time has lost
	// none. A failover that begins ends it. Longer than HeartbeatTimeout, or negative to end all
	// calls with it. Default: as long as most sentinels take to call a server down, from 1 to 30 s.
	StallTimeout time.Duration
	// EpochResetTimeout is how long most sentinels have to agree on a primary at an older
	// config-epoch than the client knows, while there is none, before it is followed: they were set
	// up anew. At once if they were seen to begin anew. Default 2 s.
	EpochResetTimeout time.Duration
	// TrustDiscovered has the credentials of Sentinel sent to sentinels that New was not given,
	// too, once one of those that vote names them. Without it they are spoken to without
	// credentials. Default false.
	TrustDiscovered bool
	// PrivateConns bounds, for each primary, the connections of one caller each: for transactions,
	// Exclusive, commands that change the connection's state. They are opened when
	// needed, and kept. Default 64.
	PrivateConns int
	// BlockingConns bounds those for commands that wait, such as BLPOP, XREAD BLOCK and DoDurable,
	// beside: however many consumers wait, a transaction finds a connection. A command that blocks
	// within Exclusive, or on a lease that has a connection already, needs no other. Default 1 024.
	BlockingConns int

	// MaxReply bounds one reply of a server, or one message of a subscription, in bytes: a larger
	// one, or a status or error of more than 64 KiB, ends its connection. At least 64 KiB. Default
	// 512 MiB, which is redis' own limit for one value.
	MaxReply int
	// Commands names commands of modules that may share a connection, such as "BF.ADD", or "JSON.*"
	// for all that begin so: each must be answered exactly once, within HeartbeatTimeout unless the
	// server stalls as a whole, and leave the connection as it was. Commands that are neither
	// redis' own nor named here work, but each opens a connection for itself, because one that is
	// not answered would leave everybody else on a shared one with others' replies. Default none.
	Commands []string

	// Replicas says which replica serves. Default Random.
	Replicas ReplicaPolicy
	// ReplicaOnly makes DoReplica fail with ErrNoReplica rather than ask the primary. Default
	// false.
	ReplicaOnly bool
	// MaxStaleness leaves out replicas that lack what their primary had written so long ago, such
	// as one that was cut off: reads are about that old at most, and a quarter more until it is
	// noticed. While there is no primary, and nothing is written, replicas serve on. At least
	// 100 ms; negative: no limit. Default 1 s.
	MaxStaleness time.Duration
	// MaxLag leaves out replicas that are more bytes behind their primary. Default 0: no limit.
	MaxLag int64

	// Logger is told changes, not commands. Default nil, silent.
	Logger *slog.Logger
	// OnEvent is told each change, in order, one at a time, on a goroutine of its own; more than 1
	// 024 that wait for it are dropped. If it panics, the log has the panic, and the next event is
	// told all the same. Default nil.
	OnEvent func(Event)
	// Trace is told of each request to a primary or a replica, a pipeline being one, when it begins
	// and when it ends; of the client's own, such as heartbeats, it is not. Default nil: nobody is,
	// and it costs nothing.
	Trace trace.Tracer
}

const (
	defaultFenceWait = 250 * time.Millisecond
	defaultDial      = time.Second
	defaultHeartbeat = 300 * time.Millisecond
	leastHeartbeat   = 100 * time.Millisecond
	defaultReset     = 2 * time.Second
	defaultPrivate   = 64
	defaultBlocking  = 1024
	defaultStaleness = time.Second
	leastStaleness   = 100 * time.Millisecond
	defaultRefresh   = time.Minute
	defaultMaxReply  = 512<<20 + 64
	leastMaxReply    = 64 << 10
	leastPatience    = 300 * time.Millisecond
	leastTime        = time.Millisecond // below, a number was given without a unit
)

func (o Options) withDefaults() Options {
	orDefault(&o.FenceWait, defaultFenceWait)
	orDefault(&o.DialTimeout, defaultDial)
	orDefault(&o.HeartbeatTimeout, defaultHeartbeat)
	orDefault(&o.MaxStaleness, defaultStaleness)
	orDefault(&o.EpochResetTimeout, defaultReset)
	orDefault(&o.PrivateConns, defaultPrivate)
	orDefault(&o.BlockingConns, defaultBlocking)
	orDefault(&o.Protocol, 2)
	orDefault(&o.MaxReply, defaultMaxReply)
	if o.LookupHost == nil {
		o.LookupHost = net.DefaultResolver.LookupHost
	}
	o.Servers = slices.Clone(o.Servers)
	o.Names, o.Allow, o.Commands = slices.Clone(o.Names), slices.Clone(o.Allow), slices.Clone(o.Commands)
	o.Server, o.Sentinel = o.Server.withDefaults(), o.Sentinel.withDefaults()
	if o.AddrMap == nil {
		o.AddrMap = func(addr string) string { return addr }
	}
	return o
}

func (e Endpoint) withDefaults() Endpoint {
	if e.Dial == nil {
		e.Dial = (&net.Dialer{}).DialContext
	}
	if e.TLS != nil {
		e.TLS = e.TLS.Clone()
	}
	orDefault(&e.CredentialsRefresh, defaultRefresh)
	return e
}

// patience is how long a server has for one question for its role. A user who allows a primary more
// time has a reason, such as a long way to it.
func (o Options) patience() time.Duration { return max(leastPatience, o.HeartbeatTimeout) }

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check returns all that is wrong.
func (o Options) check(sentinels []string) error {
	bad := []error{o.checkSources(sentinels), checkNames(o.Names), o.checkTimes()}
	complain := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if o.Mode < Eager || o.Mode > PushOnly {
		complain("Options.Mode is %v: use Eager, FenceOnly or PushOnly", o.Mode)
	}
	if o.Replicas < Random || o.Replicas > LowestLatency {
		complain("Options.Replicas is %d: use Random, RoundRobin or LowestLatency", o.Replicas)
	}
	if o.Protocol != 0 && o.Protocol != 2 && o.Protocol != 3 {
		complain("Options.Protocol is %d: use 2 or 3", o.Protocol)
	}
	if o.PrivateConns < 0 {
		complain("Options.PrivateConns is %d: use a positive number, or 0 for %d", o.PrivateConns, defaultPrivate)
	}
	if o.BlockingConns < 0 {
		complain("Options.BlockingConns is %d: use a positive number, or 0 for %d", o.BlockingConns, defaultBlocking)
	}
	if o.MaxReply != 0 && o.MaxReply < leastMaxReply {
		complain("Options.MaxReply is %d: use at least %d bytes, or 0 for %d", o.MaxReply, leastMaxReply, defaultMaxReply)
	}
	if o.DB < 0 {
		complain("Options.DB is %d: databases count from 0", o.DB)
	}
	if o.MaxStaleness > 0 && o.MaxStaleness < leastStaleness {
		complain("Options.MaxStaleness is %v: use at least %v, 0 for %v, or a negative time for no limit", o.MaxStaleness, leastStaleness, defaultStaleness)
	}
	if o.MaxLag < 0 {
		complain("Options.MaxLag is %d: use a number of bytes, or 0 for no limit", o.MaxLag)
	}
	for _, e := range []struct {
		field string
		Endpoint
	}{{"Server", o.Server}, {"Sentinel", o.Sentinel}} {
		if e.Credentials != nil && e.Username+e.Password != "" {
			complain("Options.%s has Credentials and a Username or Password: give the one or the other", e.field)
		}
	}
	for _, addr := range o.Allow {
		if err := watch.CheckAddr(addr); err != nil {
			complain("Options.Allow: %w", err)
		}
	}
	if strings.ContainsFunc(o.ClientName, func(r rune) bool { return r <= ' ' || r > '~' }) {
		complain("Options.ClientName is %q: redis takes letters, digits and signs of ASCII, without spaces", o.ClientName)
	}
	bad = append(bad, checkCommands(o.Commands))
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: %w", ErrBadOptions, err)
	}
	return nil
}

func checkCommands(commands []string) error {
	var bad []error
	for i, command := range commands {
		name := strings.TrimSuffix(command, "*")
		switch {
		case name == "" || strings.ContainsAny(name, " \t\r\n*"):
			bad = append(bad, fmt.Errorf("Options.Commands: %d is %q: write the name of one command, or the beginning of several and \"*\"", i+1, command))
		case name == command && wire.ClassOf([]byte(strings.ToUpper(name)))&(wire.Private|wire.Unknown) == wire.Private:
			bad = append(bad, fmt.Errorf("Options.Commands: %q is redis' own, and cannot share a connection", command))
		}
	}
	return errors.Join(bad...)
}

func (o Options) checkTimes() error {
	var bad []error
	complain := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if o.DialTimeout != 0 && o.DialTimeout < leastTime {
		complain("Options.DialTimeout is %v: use at least %v, as 2*time.Second, or 0 for %v", o.DialTimeout, leastTime, defaultDial)
	}
	for field, e := range map[string]Endpoint{"Server": o.Server, "Sentinel": o.Sentinel} {
		if r := e.CredentialsRefresh; r > 0 && r < leastTime {
			complain("Options.%s.CredentialsRefresh is %v: use at least %v, as 5*time.Minute, 0 for %v, or a negative time for never", field, r, leastTime, defaultRefresh)
		}
	}
	if o.HeartbeatTimeout != 0 && o.HeartbeatTimeout < leastHeartbeat {
		complain("Options.HeartbeatTimeout is %v: use at least %v, or 0 for %v", o.HeartbeatTimeout, leastHeartbeat, defaultHeartbeat)
	}
	if heartbeat := cmp.Or(o.HeartbeatTimeout, defaultHeartbeat); o.StallTimeout > 0 && o.StallTimeout < heartbeat {
		complain("Options.StallTimeout is %v: use more than HeartbeatTimeout, which is %v, or a negative one to end calls with it", o.StallTimeout, heartbeat)
	}
	if o.EpochResetTimeout != 0 && o.EpochResetTimeout < leastTime {
		complain("Options.EpochResetTimeout is %v: use at least %v, or 0 for %v", o.EpochResetTimeout, leastTime, defaultReset)
	}
	return errors.Join(bad...)
}

// checkSources checks the addresses of sentinels and servers.
func (o Options) checkSources(sentinels []string) error {
	var bad []error
	switch {
	case len(sentinels)+len(o.Servers) == 0:
		return errors.New("no sentinel is given: give the host:port of one at least; or, if there are none, Options.Servers")
	case len(sentinels) > 0 && len(o.Servers) > 0:
		return errors.New("sentinels and Options.Servers are given: the sentinels know the servers; give the one or the other")
	case len(o.Servers) > 0 && len(o.Names) > 1:
		bad = append(bad, fmt.Errorf("Options.Servers are those of one name, and Options.Names has %d: make a client for each", len(o.Names)))
	}
	for i, addr := range sentinels {
		if err := watch.CheckAddr(addr); err != nil {
			bad = append(bad, fmt.Errorf("sentinel %d: %w", i+1, err))
		}
	}
	for _, addr := range o.Servers {
		if err := watch.CheckAddr(addr); err != nil {
			bad = append(bad, fmt.Errorf("Options.Servers: %w", err))
		}
	}
	return errors.Join(bad...)
}

func checkNames(names []string) error {
	if len(names) == 0 {
		return errors.New("Options.Names is empty: give the name of one primary at least, as the sentinels call it")
	}
	var bad []error
	for i, name := range names {
		switch {
		case name == "":
			bad = append(bad, fmt.Errorf("name %d of the primaries is empty", i+1))
		case slices.Contains(names[:i], name):
			bad = append(bad, fmt.Errorf("the primary %q is named twice", name))
		}
	}
	return errors.Join(bad...)
}
