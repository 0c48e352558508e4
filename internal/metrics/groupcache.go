package metrics

import "github.com/holdfast-go/holdfast/internal/observe"

// Groupcache are the metrics of an instance of the peer cache.
type Groupcache struct {
	*observe.Table

	Gets, Hits, Loads, Evictions, ServerRequests observe.Counter // by group
	Items, Bytes                                 observe.Gauge   // by group and tier

	PeerRequests, LostRemoves, DroppedRemoves observe.Counter // by peer
	PeerInFlight, MissedRemoves               observe.Gauge

	Route, Lines            observe.Gauge
	Upgrades, Ended, Served observe.Counter

	Peers                                            observe.Gauge
	Hedges, TakenOver, Forgets, Refused, BadRequests observe.Counter
	Duration, Sizes                                  observe.HistogramOf
}

// NewGroupcache declares them.
//
//nolint:funlen // a list.
func NewGroupcache(client string) *Groupcache {
	t := observe.NewTable("groupcache", "client", client)
	return &Groupcache{
		Table: t,
		Gets: t.Counter("gets_total",
			"Keys asked for, also by peers.", "group").Shown("Gets"),
		Hits: t.Counter("hits_total",
			"Gets answered by a cache: main (own keys), hot (others').", "group", "tier").Shown("Gets"),
		Loads: t.Counter("loads_total",
			"Gets that no cache answered, by what answered: getter, getter_failed, peer, peer_failed; former_owner is the cache of a peer that had the "+
				"key before, joined shared another's load.", "group", "result").Shown("Loads"),
		Items: t.Gauge("items",
			"Values in a cache.", "group", "tier").Shown("Values"),
		Bytes: t.Gauge("bytes",
			"All the memory that a cache takes.", "group", "tier").Shown("Memory"),
		Evictions: t.Counter("evictions_total",
			"Values that gave way to others.", "group", "tier").Shown("Evictions"),
		ServerRequests: t.Counter("server_requests_total",
			"Gets that came from peers.", "group").Shown("Gets of peers"),
		Duration: t.Seconds("load_duration_seconds",
			"Duration of calls of Getters.").Shown("Duration of Getters"),
		Sizes: t.Bytes("value_size_bytes",
			"Size of the values that Getters and peers returned.").Shown("Size of values"),
		Hedges: t.Counter("hedges_total",
			"Second questions, to the cache of the next peer, when the owner took long: won ones answered first, lost ones did not.", "result").
			Shown("Hedges"),
		TakenOver: t.Counter("taken_over_total",
			"Values taken from peers that were about to leave (Drain).").Shown("Hand-over").Seldom(),
		Forgets: t.Counter("forgets_total",
			"Times that all values were dropped, because a peer had made writes without knowing this process.").Shown("Hand-over").Seldom(),
		Refused: t.Counter("refused_values_total",
			"Values that were larger than half of the budget and not kept.").Shown("Values not kept"),
		Peers: t.Gauge("peers",
			"Peers, this process left out, by whether they are asked: up, down.", "state").Shown("Peers"),
		PeerRequests: t.Counter("peer_requests_total",
			"Requests for keys to a peer: ok, not_found, load_failed (its Getter's error), failed (no answer), refused (not sent).", "endpoint", "result").
			Shown("Requests to peers"),
		PeerInFlight: t.Gauge("peer_requests_inflight",
			"Requests to a peer under way.", "endpoint").Shown("Requests under way"),
		Route: t.Gauge("peer_route",
			"How a peer is asked, always 1: frames; else HTTP, or another Network, because frames are off here (off), the peer has not said that it takes "+
				"them (not_offered), a connection is being made (connecting) or could not be (no_connection), something did not let it through "+
				"(not_let_through, tried again after a minute), or connections ended again and again (unsteady, tried again after 1 to 8 minutes).",
			"endpoint", "route").Hide("the first panels show the peers that are not asked by frames"),
		Lines: t.Gauge("frames_connections",
			"Open connections for frames: out (on which this process asks), in (on which it is asked).", "direction").Shown("Connections for frames"),
		Upgrades: t.Counter("frames_upgrades_total",
			"Tries to make a connection for frames: ok, not_let_through (the peer, or something on the way, went on with HTTP), failed (no connection).",
			"result").Shown("Connections for frames made").Seldom(),
		Ended: t.Counter("frames_ended_total",
			"Connections for frames on which this process asked and that have ended: left (in good order), lost (by the network), silent (nothing came of "+
				"the peer), wrong (what came was no peer's word), given_up (the peer was down, or is no longer asked).", "reason").
			Shown("Connections for frames ended").Seldom(),
		Served: t.Counter("frames_served_upgrades_total",
			"Connections that peers asked to go on with frames: ok, hidden (a middleware of this process hides the connection), closing.", "result").
			Shown("Connections for frames made").Seldom(),
		MissedRemoves: t.Gauge("peer_missed_removes",
			"Removals that a peer has still to be told, before it is asked again.", "endpoint").Shown("Removals not delivered"),
		LostRemoves: t.Counter("peer_lost_removes_total",
			"Removals that were not kept for a peer, because too many were: it drops all that it has when it is back.", "endpoint").
			Shown("Removals given up").Seldom(),
		DroppedRemoves: t.Counter("peer_dropped_removes_total",
			"Removals that were given up, because nothing lets them through to the peer: it may answer with old values until they expire.", "endpoint").
			Shown("Removals given up").Seldom(),
		BadRequests: t.Counter("rejected_requests_total",
			"Requests of peers by what is wrong with their signature: unsigned (and accepted), unauthorised (refused).", "reason").
			Shown("Signatures"),
	}
}

// DNSPeers are the metrics of peers that DNS names.
type DNSPeers struct {
	*observe.Table

	Peers, Updated observe.Gauge
	Lookups        observe.Counter
}

// NewDNSPeers declares them.
func NewDNSPeers(client string) *DNSPeers {
	t := observe.NewTable("groupcache_dns", "client", client)
	return &DNSPeers{
		Table: t,
		Peers: t.Gauge("peers",
			"Peers that the last usable answer named.").Shown("Peers that DNS names").Lowest(),
		Lookups: t.Counter("lookups_total",
			"Questions: ok, failed (an empty answer, too).", "result").Shown("Questions to DNS"),
		Updated: t.Gauge("last_update_timestamp_seconds",
			"When the peers were last confirmed; 0 if never.").Shown("Age of the answer of DNS").Lowest(),
	}
}

// EtcdPeers are the metrics of peers that etcd names.
type EtcdPeers struct {
	*observe.Table

	Up, Registered, Peers, Listed, Ignored, Updated observe.Gauge
	Registrations, Changes, Failures, Relists       observe.Counter
}

// NewEtcdPeers declares them.
func NewEtcdPeers(client string) *EtcdPeers {
	t := observe.NewTable("groupcache_etcd", "client", client)
	return &EtcdPeers{
		Table: t,
		Up: t.Gauge("up",
			"1 if etcd answers and its list is followed.").Shown("Etcd").Lowest(),
		Registered: t.Gauge("registered",
			"1 if this process is on the list; only where it has an address to register (Options.Self).").Shown("Etcd").Lowest(),
		Peers: t.Gauge("peers",
			"Peers that were set last.").Shown("Peers on the list of etcd").Lowest(),
		Listed: t.Gauge("listed_peers",
			"Peers on etcd's list: fewer than were set while some are kept that it lacks.").Shown("Peers on the list of etcd").Lowest(),
		Ignored: t.Gauge("ignored_entries",
			"Entries of the list that name no usable address.").Shown("Peers on the list of etcd"),
		Registrations: t.Counter("registrations_total",
			"Times that this process has put itself on the list: more than once means that it was lost.").Shown("Changes in etcd").Seldom(),
		Changes: t.Counter("changes_total",
			"New lists of peers.").Shown("Changes in etcd").Seldom(),
		Relists: t.Counter("relists_total",
			"Times that the list was asked for again: away, compacted, data_lost, lease_lost, behind.", "cause").Shown("Changes in etcd").Seldom(),
		Failures: t.Counter("failures_total",
			"Tries to connect, to follow the list or to register that failed.").Shown("Changes in etcd").Seldom(),
		Updated: t.Gauge("last_update_timestamp_seconds",
			"When etcd last confirmed its list; 0 if never.").Shown("Age of the list of etcd").Lowest(),
	}
}

// GRPCPeers are the metrics of requests over gRPC.
type GRPCPeers struct {
	*observe.Table

	Served, Connects observe.Counter
}

// NewGRPCPeers declares them.
func NewGRPCPeers(client string) *GRPCPeers {
	t := observe.NewTable("groupcache_grpc", "client", client)
	return &GRPCPeers{
		Table: t,
		Served: t.Counter("served_requests_total",
			"Requests of peers by what became of them: ok, refused (not allowed), canceled, failed.", "method", "result").Shown("Requests over gRPC"),
		Connects: t.Counter("connects_total",
			"Connections to peers that were opened (ok) or not (failed).", "result").Shown("Connections over gRPC"),
	}
}
