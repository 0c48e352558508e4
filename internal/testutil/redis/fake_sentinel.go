package redis

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// FakeSentinelOptions says how a FakeSentinel is made. The zero value watches nothing and needs no
// password.
type FakeSentinelOptions struct {
	// Addr is the made-up address under which FakeNet finds it. Default: a free one, such as
	// "10.0.1.1:26379".
	Addr string
	// Password is that of the default user, Users are further ones with theirs. Default: none.
	Password string
	Users    map[string]string
	// Unknown are commands that it does not know, such as "HELLO" for an old one. Default: none.
	Unknown []string

	tcp bool // listens on a free port of 127.0.0.1 instead
}

// Watched is a sentinel's record of one primary.
type Watched struct {
	// Primary is its host:port.
	Primary string
	// Epoch is the config-epoch. Default: 0.
	Epoch int
	// Flags are such as "s_down,master"; their order is redis' own, whatever it is here. Default:
	// "master".
	Flags string
	// Unmet says that it has just heard of the primary, and not asked it anything yet: it is
	// disconnected and has no run id.
	Unmet bool
	// Quorum is how many sentinels have to agree that it is down. Default: the majority of
	// Sentinels and itself.
	Quorum int
	// Replicas and Sentinels are the others it knows. Default: none.
	Replicas  []WatchedReplica
	Sentinels []WatchedSentinel
}

// WatchedReplica is a sentinel's record of a replica.
type WatchedReplica struct {
	// Addr is its host:port.
	Addr string
	// Flags are such as "s_down,slave". Default: "slave".
	Flags string
	// Role is the one it reported last, "master" or "slave". Default: "slave".
	Role string
	// Unmet is as in Watched.
	Unmet bool
	// Of is the host:port of its primary. Default: Watched.Primary.
	Of string
	// Link is its master-link-status. Default: "ok".
	Link string
	// Priority is its slave-priority; negative: 0, never to be promoted. Default: 100.
	Priority int
	// Offset is its slave-repl-offset, in bytes. Default: 0.
	Offset int64
}

// WatchedSentinel is a sentinel's record of another one.
type WatchedSentinel struct {
	// Addr is its host:port.
	Addr string
	// Flags are such as "s_down,sentinel". Default: "sentinel".
	Flags string
}

// FakeSentinel is a sentinel in this process whose knowledge the test sets. It has no
// useful zero value; FakeNet.Sentinel makes one. It is a testutil.Server and safe for concurrent
// use.
type FakeSentinel struct {
	node
	onFailover func(name string) any // what SENTINEL FAILOVER does; called without a lock

	watched map[string]*Watched // guarded by node.state
	names   []string            // guarded by node.state; in the order in which they came
}

func newFakeSentinel(ctx context.Context, o FakeSentinelOptions) (*FakeSentinel, error) {
	f := &FakeSentinel{watched: make(map[string]*Watched)}
	f.addr, f.tcp = o.Addr, o.tcp
	f.access = newAccess(o.Password, o.Users)
	f.refuse = func(trait) ReplyError { return "" }
	f.about = func() []any { return []any{"mode", "sentinel"} }
	f.onKill = func() {} // a sentinel's configuration file survives
	f.commands = f.commandTable(o.Unknown)
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// Watch sets its record of the primary called name, all at once.
func (f *FakeSentinel) Watch(name string, w Watched) {
	f.state.Lock()
	defer f.state.Unlock()
	if _, known := f.watched[name]; !known {
		f.names = append(f.names, name)
	}
	f.watched[name] = w.clone()
}

// Update changes its record of a primary; it does nothing for a name that it does not know.
func (f *FakeSentinel) Update(name string, change func(w *Watched)) {
	f.state.Lock()
	defer f.state.Unlock()
	if w, known := f.watched[name]; known {
		change(w)
	}
}

// Forget makes it know nothing about a name.
func (f *FakeSentinel) Forget(name string) {
	f.state.Lock()
	defer f.state.Unlock()
	delete(f.watched, name)
	f.names = slices.DeleteFunc(f.names, func(known string) bool { return known == name })
}

// Watched returns its record of a primary; ok is false if it has none.
func (f *FakeSentinel) Watched(name string) (w Watched, ok bool) {
	f.state.Lock()
	defer f.state.Unlock()
	known, ok := f.watched[name]
	if !ok {
		return Watched{}, false
	}
	return *known.clone(), true
}

func (w Watched) clone() *Watched {
	w.Replicas, w.Sentinels = slices.Clone(w.Replicas), slices.Clone(w.Sentinels)
	return &w
}

// Publish sends an event to all subscribers and returns how many there are.
func (f *FakeSentinel) Publish(channel, payload string) int {
	return int(f.bus.publish(channel, payload))
}

// ID returns its run id, as SENTINEL MYID does.
func (f *FakeSentinel) ID() string { return runID(f.addr) }

const errNoSuchName = ReplyError("ERR No such master with that name")

func (f *FakeSentinel) commandTable(unknown []string) map[string]command {
	table := sessionCommands()
	table["ROLE"] = command{1, 0, func(*session, []string) any { return f.role() }}
	table["INFO"] = command{-1, 0, func(*session, []string) any { return f.info() }}
	table["PUBLISH"] = command{3, 0, func(*session, []string) any {
		return ReplyError("ERR Only HELLO messages are accepted by Sentinel instances.")
	}}
	table["SENTINEL"] = command{-2, 0, f.sentinel}
	for _, name := range unknown {
		delete(table, strings.ToUpper(name))
	}
	return table
}

func (f *FakeSentinel) role() any {
	names := make([]any, 0, len(f.names))
	for _, name := range f.names {
		names = append(names, name)
	}
	return []any{"sentinel", names}
}

func (f *FakeSentinel) info() string {
	_, port := splitAddr(f.addr)
	text := fmt.Sprintf("# Server\r\nredis_version:%s\r\nredis_mode:sentinel\r\nrun_id:%s\r\ntcp_port:%d\r\n\r\n# Sentinel\r\nsentinel_masters:%d\r\n",
		fakeVersion, f.ID(), port, len(f.names))
	for i, name := range f.names {
		w := f.watched[name]
		state := "ok"
		if w.Flags != "" && w.Flags != "master" {
			state = "sdown"
		}
		text += fmt.Sprintf("master%d:name=%s,status=%s,address=%s,slaves=%d,sentinels=%d\r\n",
			i, name, state, w.Primary, len(w.Replicas), len(w.Sentinels)+1)
	}
	return text
}

func (f *FakeSentinel) sentinel(_ *session, args []string) any {
	verb := strings.ToUpper(args[1])
	switch verb {
	case "MYID", "MASTERS":
		if len(args) != 2 {
			return wrongCount(verb)
		}
		if verb == "MYID" {
			return f.ID()
		}
		all := make([]any, 0, len(f.names))
		for _, name := range f.names {
			all = append(all, f.masterFields(name, f.watched[name]))
		}
		return all
	case "MASTER", "GET-MASTER-ADDR-BY-NAME", "REPLICAS", "SLAVES", "SENTINELS", "CKQUORUM", "FAILOVER":
		if len(args) != 3 {
			return wrongCount(verb)
		}
		return f.aboutName(verb, args[2])
	default:
		return ReplyError(fmt.Sprintf("ERR unknown subcommand '%.128s'. Try SENTINEL HELP.", args[1]))
	}
}

func wrongCount(verb string) ReplyError {
	return ReplyError(fmt.Sprintf("ERR wrong number of arguments for 'sentinel|%s' command", strings.ToLower(verb)))
}

// aboutName answers a question about one name.
func (f *FakeSentinel) aboutName(verb, name string) any {
	w, known := f.watched[name]
	if !known && verb == "GET-MASTER-ADDR-BY-NAME" {
		return nullArray{}
	}
	if !known {
		return errNoSuchName
	}
	switch verb {
	case "MASTER":
		return f.masterFields(name, w)
	case "GET-MASTER-ADDR-BY-NAME":
		host, port := splitAddr(w.Primary)
		return []any{host, strconv.Itoa(port)}
	case "SENTINELS":
		return w.sentinelFields()
	case "CKQUORUM":
		return w.quorumReply()
	case "FAILOVER":
		return f.failover(name)
	default:
		return w.replicaFields()
	}
}

func (f *FakeSentinel) failover(name string) any {
	if f.onFailover == nil {
		return ReplyError("NOGOODSLAVE No suitable replica to promote")
	}
	return f.onFailover(name)
}

func (w *Watched) quorum() int {
	if w.Quorum > 0 {
		return w.Quorum
	}
	return (len(w.Sentinels)+1)/2 + 1
}

func (w *Watched) quorumReply() any {
	usable := 1
	for _, s := range w.Sentinels {
		if !strings.Contains(s.Flags, "down") {
			usable++
		}
	}
	if usable < w.quorum() || usable < (len(w.Sentinels)+1)/2+1 {
		return ReplyError(fmt.Sprintf("NOQUORUM %d usable Sentinels. Not enough available Sentinels to reach the majority and authorize a failover", usable))
	}
	return status(fmt.Sprintf("OK %d usable Sentinels. Quorum and failover authorization can be reached", usable))
}

// instance returns the fields that everything a sentinel knows has in common.
func instance(name, addr, flags, id string) pairs {
	host, port := splitAddr(addr)
	return pairs{
		"name", name, "ip", host, "port", strconv.Itoa(port), "runid", id, "flags", inOrder(flags),
		"link-pending-commands", "0", "link-refcount", "1", "last-ping-sent", "0", "last-ok-ping-reply", "50",
		"last-ping-reply", "50", "down-after-milliseconds", "1000",
	}
}

// inOrder brings flags into the order in which sentinels say them.
func inOrder(flags string) string {
	order := []string{
		"s_down", "o_down", "master", "slave", "sentinel", "disconnected", "master_down", "failover_in_progress", "promoted", "reconf_sent",
		"reconf_inprog", "reconf_done", "force_failover",
	}
	given := strings.Split(flags, ",")
	slices.SortStableFunc(given, func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	return strings.Join(given, ",")
}

// met returns the flags and the run id of a server, depending on whether the sentinel has asked it
// anything.
func met(unmet bool, flags, id string) (sayFlags, sayID string) { //nolint:revive // a field of the caller's
	if unmet {
		return flags + ",disconnected", ""
	}
	return flags, id
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (f *FakeSentinel) masterFields(name string, w *Watched) pairs {
	flags, id := met(w.Unmet, orElse(w.Flags, "master"), runID(w.Primary))
	return append(instance(name, w.Primary, flags, id),
		"info-refresh", "500", "role-reported", "master", "role-reported-time", "10000",
		"config-epoch", strconv.Itoa(w.Epoch), "num-slaves", strconv.Itoa(len(w.Replicas)),
		"num-other-sentinels", strconv.Itoa(len(w.Sentinels)), "quorum", strconv.Itoa(w.quorum()),
		"failover-timeout", "10000", "parallel-syncs", "1")
}

func (w *Watched) replicaFields() any {
	all := make([]any, 0, len(w.Replicas))
	for _, r := range w.Replicas {
		priority := r.Priority
		switch {
		case priority == 0:
			priority = 100
		case priority < 0:
			priority = 0
		}
		host, port, _ := net.SplitHostPort(orElse(r.Of, w.Primary))
		flags, id := met(r.Unmet, orElse(r.Flags, "slave"), runID(r.Addr))
		all = append(all, append(instance(r.Addr, r.Addr, flags, id),
			"info-refresh", "500", "role-reported", orElse(r.Role, "slave"), "role-reported-time", "10000",
			"master-link-down-time", "0", "master-link-status", orElse(r.Link, "ok"), "master-host", host, "master-port", port,
			"slave-priority", strconv.Itoa(priority), "slave-repl-offset", strconv.FormatInt(r.Offset, 10), "replica-announced", "1"))
	}
	return all
}

func (w *Watched) sentinelFields() any {
	all := make([]any, 0, len(w.Sentinels))
	for _, s := range w.Sentinels {
		all = append(all, append(instance(runID(s.Addr), s.Addr, orElse(s.Flags, "sentinel"), runID(s.Addr)),
			"last-hello-message", "500", "voted-leader", "?", "voted-leader-epoch", "0"))
	}
	return all
}

// EventInstance returns how events name a replica: "slave ip:port ip port @ name ip port".
func EventInstance(name, primary, replica string) string {
	host, port := splitAddr(replica)
	of, ofPort := splitAddr(primary)
	return fmt.Sprintf("slave %s %s %d @ %s %s %d", replica, host, port, name, of, ofPort)
}

// EventSwitch returns the payload of +switch-master: "name ip port ip port", the old address first.
func EventSwitch(name, from, to string) string {
	oldHost, oldPort := splitAddr(from)
	newHost, newPort := splitAddr(to)
	return fmt.Sprintf("%s %s %d %s %d", name, oldHost, oldPort, newHost, newPort)
}
