package archtest

import "slices"

const (
	gobreaker    = "github.com/sony/gobreaker/v2"
	prometheus   = "github.com/prometheus/client_golang"
	clientModel  = "github.com/prometheus/client_model"
	gomemcache   = "github.com/bradfitz/gomemcache"
	goleak       = "go.uber.org/goleak"
	rapid        = "pgregory.net/rapid"
	breaker      = "breaker"
	breakerGRPC  = "breaker/breakergrpc"
	backoff      = "internal/backoff"
	endpoints    = "internal/endpoints"
	observe      = "internal/observe"
	tables       = "internal/metrics"
	dashboards   = "internal/dashboards"
	traces       = "trace"
	tracing      = "internal/tracing"
	healing      = "reconnectingmemcached"
	memcache     = "reconnectingmemcached/memcache"
	placement    = "reconnectingmemcached/memcache/internal/placement"
	adoption     = "reconnectingmemcached/memcache/internal/adoption"
	history      = "reconnectingmemcached/memcache/internal/history"
	addresses    = "reconnectingmemcached/memcache/internal/addresses"
	faults       = "reconnectingmemcached/memcache/internal/faults"
	limits       = "reconnectingmemcached/memcache/internal/limits"
	phases       = "reconnectingmemcached/memcache/internal/phases"
	protocol     = "reconnectingmemcached/memcache/internal/protocol"
	sockets      = "reconnectingmemcached/memcache/internal/sockets"
	recentKeys   = "reconnectingmemcached/memcache/internal/keys"
	oneMemcached = "reconnectingmemcached/memcache/internal/server"
	allMemcached = "reconnectingmemcached/memcache/internal/fleet"
	roster       = "reconnectingmemcached/memcache/internal/roster"
	picker       = "reconnectingmemcached/memcache/internal/picker"
	gutter       = "reconnectingmemcached/memcache/internal/gutter"
	lists        = "reconnectingmemcached/memcache/internal/lists"
	loads        = "reconnectingmemcached/memcache/internal/loads"
	cachedrill   = "cmd/cachedrill/..."
	radix        = "github.com/mediocregopher/radix/v4"
	sentinel     = "sentinel"
	sentinelWire = "sentinel/internal/wire"
	follow       = "sentinel/internal/follow"
	director     = "sentinel/internal/director"
	replica      = "sentinel/internal/replica"
	route        = "sentinel/internal/route"
	watch        = "sentinel/internal/watch"
	access       = "sentinel/internal/access"
	outcome      = "sentinel/internal/outcome"
	signals      = "sentinel/internal/signals"
	roles        = "sentinel/internal/roles"
	radixv2      = "sentinel/radixv2/redis"
	otter        = "github.com/maypok86/otter/v2"
	limiter      = "golang.org/x/time"
	autorefresh  = "autorefresh"
	changes      = "autorefresh/internal/changes"
	following    = "autorefresh/internal/follow"
	itemsOf      = "autorefresh/internal/items"
	lifetime     = "autorefresh/internal/life"
	refreshing   = "autorefresh/internal/refresh"
	storing      = "autorefresh/internal/storage"
	telling      = "autorefresh/internal/tell"
	codecs       = "autorefresh/internal/codec"
	envelope     = "autorefresh/internal/envelope"
	keyNames     = "autorefresh/internal/keyname"
	tombstones   = "autorefresh/internal/tombstone"
	fetching     = "autorefresh/internal/fetch"
	level        = "autorefresh/internal/level"
	loader       = "autorefresh/internal/loader"
	safe         = "autorefresh/internal/safe"
	source       = "autorefresh/internal/source"
	task         = "autorefresh/internal/task"
	timetable    = "autorefresh/internal/timetable"
	groupcache   = "groupcache"
	messages     = "groupcache/groupcachepb"
	pbwire       = "groupcache/internal/pbwire"
	multiwire    = "groupcache/internal/multiwire"
	peerWire     = "groupcache/internal/wire"
	peer         = "groupcache/internal/peer"
	httppeer     = "groupcache/internal/httppeer"
	frame        = "groupcache/internal/frame"
	peerLine     = "groupcache/internal/line"
	flight       = "groupcache/internal/flight"
	writes       = "groupcache/internal/writes"
	store        = "groupcache/internal/store"
	snapshot     = "groupcache/internal/snapshot"
	groupOutcome = "groupcache/internal/outcome"
	groupProcess = "groupcache/internal/process"
	groupTiers   = "groupcache/internal/tiers"
	groupRoute   = "groupcache/internal/route"
	groupShared  = "groupcache/internal/group"
	groupLoader  = "groupcache/internal/loader"
	handover     = "groupcache/internal/handover"
	fetcher      = "groupcache/internal/fetcher"
	finder       = "groupcache/internal/finder"
	writer       = "groupcache/internal/writer"
	answers      = "groupcache/internal/answers"
	groupParts   = "groupcache/internal/parts"
	cluster      = "groupcache/internal/cluster"
	report       = "groupcache/internal/report"
	debugPage    = "groupcache/internal/debugpage"
	logs         = "groupcache/internal/logs"
	ring         = "groupcache/internal/ring"
	hashRing     = "groupcache/consistenthash"
	lru          = "groupcache/lru"
	singleflight = "groupcache/singleflight"
	protobuf     = "google.golang.org/protobuf"
	xxhash       = "github.com/cespare/xxhash/v2"
	logrus       = "github.com/sirupsen/logrus"
	dnspeers     = "groupcache/dnspeers"
	etcdpeers    = "groupcache/etcdpeers"
	grpcpeer     = "groupcache/grpcpeer"
	etcdFace     = "groupcache/etcd"
	grpcStub     = "groupcache/grpcpeer/grpcpb"
	scale        = "groupcache/internal/scale"
	etcdExample  = "examples/groupcache-etcd"
	grpc         = "google.golang.org/grpc"
	etcd         = "go.etcd.io/etcd"
	zap          = "go.uber.org/zap"
	testServers  = "internal/testutil/..."
	thisModule   = "github.com/holdfast-go/holdfast"
	thisPackage  = "internal/archtest"
	profiles     = "net/http/pprof"
	publicVars   = "expvar"
	testPackages = "testing"
)

// betweenPeers are the packages by which groupcache's peers ask each other.
func betweenPeers() []Row {
	return []Row{
		{Package: pbwire, May: []string{protobuf}, Tests: []string{messages}},
		{Package: multiwire, May: []string{peerWire, pbwire, protobuf}, Tests: []string{messages}},
		{Package: writes, May: []string{backoff}},
		{Package: peerWire, May: []string{writes, observe, tracing}},
		{Package: peer, May: []string{peerWire, writes, breaker, observe, tables, traces, tracing}},
		{Package: frame},
		{Package: peerLine, May: []string{peerWire, frame, multiwire, writes}, Tests: []string{tracing}},
		{Package: httppeer, May: []string{peerWire, pbwire, multiwire, peerLine, frame, writes, tracing, observe}},
	}
}

// partsOfAGroup are the packages of which a group of groupcache consists.
func partsOfAGroup() []Row {
	return []Row{
		{Package: groupOutcome},
		{Package: groupProcess, May: []string{groupOutcome, observe, tracing}},
		{Package: groupTiers, May: []string{store}},
		{Package: groupRoute, May: []string{groupOutcome, peerWire, peer, writes, messages, observe}},
		{Package: groupShared, May: []string{peerWire, groupOutcome, groupProcess, groupTiers, store, groupRoute, writes, traces, tracing}},
		{Package: groupLoader, May: []string{groupShared, groupOutcome, flight, store, groupTiers, peer, traces}},
		{Package: handover, May: []string{groupShared, groupLoader, groupOutcome, flight, store, groupTiers, peerWire, peer, multiwire, snapshot, observe}},
		{Package: fetcher, May: []string{groupShared, groupLoader, groupOutcome, flight, store, groupRoute, peerWire, peer, multiwire}},
		{Package: finder, May: []string{groupShared, groupLoader, handover, fetcher, groupOutcome, peer, observe, traces}},
		{Package: writer, May: []string{peerWire, groupShared, groupLoader, groupOutcome, groupRoute, store, groupTiers, writes, observe}, Tests: []string{groupProcess, peer}},
		{Package: groupParts, May: []string{groupShared, groupLoader, handover, fetcher, finder, writer}},
		{Package: answers, May: []string{groupShared, groupParts, groupOutcome, groupProcess, groupTiers, peerWire, peer, writes, multiwire, traces, tracing}},
		{Package: cluster, May: []string{answers, peerWire, peer, httppeer, groupOutcome, backoff, observe}},
		{Package: report, May: []string{answers, cluster, store, peer, httppeer, prometheus, observe, tables}},
		{Package: debugPage},
		{Package: logs},
	}
}

// Holdfast returns the rules of this module. Arrows point one way, from add-on to core to internal;
// siblings never import each other, except that all may import breaker.
func Holdfast() Rules {
	return Rules{
		Module: thisModule,
		Rows: slices.Concat(sharedByAll(), betweenPeers(), partsOfAGroup(), aroundMemcache(), aroundSentinel(), aroundAutorefresh(), []Row{
			{Package: testServers, May: []string{testServers, traces}},
			{Package: "holdfasttest", May: []string{testServers}, Tests: []string{memcache, sentinel, radix}},
			{Package: thisPackage},
			{Package: "docs"},
			{Package: endpoints},
			{Package: messages, May: []string{protobuf}},
			{Package: flight},
			{Package: store},
			{Package: snapshot},
			{Package: ring, May: []string{hashRing, xxhash}},
			{Package: hashRing},
			{Package: lru},
			{Package: singleflight},
			{Package: groupcache, May: []string{
				messages, peerWire, peer, httppeer, store, ring, hashRing, lru, protobuf, logrus, prometheus, observe, tables, traces, tracing, writes,
				answers, cluster, debugPage, fetcher, groupShared, groupParts, groupLoader, groupOutcome, groupProcess, groupRoute, groupTiers, logs, report,
			}, Tests: []string{frame, multiwire, snapshot, singleflight, dnspeers}},
			{Package: dnspeers, May: []string{backoff, endpoints, prometheus, observe, tables}, Tests: []string{groupcache}},
			{Package: etcdpeers, May: []string{backoff, etcd, grpc, zap, prometheus, observe, tables}, Tests: []string{groupcache}},
			{Package: grpcStub, May: []string{messages, grpc, protobuf}},
			{Package: grpcpeer, May: []string{peerWire, groupcache, grpcStub, messages, multiwire, pbwire, writes, grpc, protobuf, prometheus, observe, tables, tracing}, Tests: []string{hashRing, traces}},
			{Package: etcdFace, May: []string{peerWire, groupcache, etcdpeers, grpcpeer, grpcStub, messages, writes, grpc, observe}, Tests: []string{hashRing, etcd, zap}},
			{Package: scale, May: []string{groupcache, hashRing, ring, xxhash, prometheus}},
			{Package: "examples/groupcache", May: []string{groupcache, prometheus, xxhash}},
			{Package: etcdExample, May: []string{groupcache, dnspeers, etcdpeers, grpcpeer, prometheus, xxhash}},
			{Package: cachedrill, May: []string{
				cachedrill, testServers, breaker, memcache, healing, sentinel, autorefresh, "autorefresh/memcachedstore", gomemcache, radix, otter, prometheus,
				groupcache, hashRing, singleflight, lru, xxhash, backoff, clientModel, "github.com/prometheus/common", "golang.org/x/sys",
			}},
		}),
		AllTests:      []string{goleak, rapid, testServers},
		Testing:       testServers,
		Tools:         []string{cachedrill, "examples/...", scale, dashboards, "holdfasttest"},
		NeverImported: []string{profiles, publicVars, testPackages},
		NeverLinked:   []string{profiles, testPackages},
		Leaves: []Leaf{
			{Module: grpc, Into: []string{breakerGRPC, grpcStub, grpcpeer, etcdpeers, etcdFace, etcdExample}},
			{Module: etcd, Into: []string{etcdpeers, etcdFace, etcdExample}},
		},
	}
}

// sharedByAll are the breaker, and what several packages or none of them import.
func sharedByAll() []Row {
	return []Row{
		{Package: breaker, May: []string{backoff, gobreaker, prometheus, clientModel, observe, tables}},
		{Package: "breaker/breakerhttp", May: []string{breaker, observe}},
		{Package: breakerGRPC, May: []string{breaker, grpc}, Tests: []string{protobuf}},
		{Package: backoff},
		{Package: observe, May: []string{prometheus}},
		{Package: tables, May: []string{observe}},
		{Package: dashboards, May: []string{observe, tables}},
		{Package: "internal/api"},
		{Package: traces},
		{Package: tracing, May: []string{traces}},
	}
}

// aroundMemcache are the packages around memcache.
func aroundMemcache() []Row {
	return []Row{
		{Package: placement, Tests: []string{gomemcache}},
		{Package: adoption},
		{Package: history, May: []string{placement}},
		{Package: addresses},
		{Package: recentKeys},
		{Package: limits},
		{Package: sockets},
		{Package: faults, May: []string{breaker, observe}},
		{Package: protocol, May: []string{faults, gomemcache}},
		{Package: phases, May: []string{protocol}},
		{Package: oneMemcached, May: []string{
			addresses, faults, limits, phases, placement, protocol, sockets, breaker, backoff, gomemcache, observe, tables, traces, tracing,
		}},
		{Package: allMemcached, May: []string{addresses, oneMemcached, breaker, prometheus, observe, tables}, Tests: []string{protocol}},
		{Package: roster, May: []string{allMemcached, oneMemcached, history, placement}},
		{Package: picker, May: []string{addresses, allMemcached, oneMemcached, placement, roster, gomemcache}},
		{Package: gutter, May: []string{allMemcached, oneMemcached, picker, faults, phases, placement, protocol, gomemcache, observe}},
		{Package: loads, May: []string{faults}},
		{Package: lists, May: []string{
			addresses, adoption, allMemcached, oneMemcached, history, recentKeys, loads, phases, placement, protocol, roster,
			backoff, gomemcache, observe, tables,
		}},
		{Package: memcache, May: []string{
			addresses, allMemcached, oneMemcached, faults, gutter, lists, loads, phases, picker, placement, protocol, roster, sockets, adoption,
			breaker, backoff, gomemcache, prometheus, clientModel, observe, tables, traces, tracing,
		}},
		{Package: "reconnectingmemcached/memcachedservers", May: []string{endpoints, observe}, Tests: []string{memcache}},
		{Package: healing, May: []string{memcache, gomemcache, prometheus, observe, traces}},
	}
}

// aroundAutorefresh are package autorefresh, the packages that it is made of, and its stores.
func aroundAutorefresh() []Row {
	return []Row{
		{Package: changes},
		{Package: envelope},
		{Package: safe},
		{Package: task, May: []string{breaker}},
		{Package: timetable, May: []string{backoff}},
		{Package: codecs},
		{Package: keyNames},
		{Package: tombstones},
		{Package: level, May: []string{codecs, envelope, keyNames, safe, tombstones, observe}},
		{Package: source, May: []string{safe, task, breaker, limiter, observe, tables}},
		{Package: fetching, May: []string{level, source, task, timetable, tombstones}},
		{Package: lifetime, May: []string{source}},
		{Package: storing, May: []string{safe, timetable, otter}},
		{Package: telling, May: []string{safe, breaker, observe}},
		{Package: loader, May: []string{fetching, lifetime, source, task, telling, timetable}},
		{Package: refreshing, May: []string{fetching, lifetime, loader, source, storing, task, telling, timetable, breaker, observe}},
		{Package: itemsOf, May: []string{fetching, level, lifetime, loader, refreshing, safe, source, storing, task, telling, timetable}},
		{Package: following, May: []string{changes, itemsOf, level, lifetime, loader, safe, telling, timetable, tombstones, backoff, observe}},
		{Package: autorefresh, May: []string{changes, fetching, following, itemsOf, level, lifetime, loader, refreshing, safe, source, storing, task, telling, timetable, breaker, limiter, prometheus, observe, tables, traces, tracing}, Tests: []string{codecs, envelope, keyNames, otter, tombstones}},
		{Package: "autorefresh/memcachedstore", May: []string{autorefresh, memcache, breaker}},
		{Package: "autorefresh/redisstore", May: []string{autorefresh, sentinel, radix, breaker}},
	}
}

// aroundSentinel are package sentinel, the packages below it that decide, and those with the names
// of radix.v2's on top of it.
func aroundSentinel() []Row {
	return []Row{
		{Package: sentinelWire, May: []string{radix, observe}},
		{Package: sentinel, May: []string{director, replica, route, watch, access, outcome, signals, sentinelWire, follow, breaker, backoff, radix, prometheus, observe, tables, traces, tracing}},
		{Package: director, May: []string{replica, route, watch, access, outcome, signals, sentinelWire, follow, breaker, backoff, observe, tables}},
		{Package: replica, May: []string{route, access, outcome, signals, sentinelWire, follow, backoff, radix, observe}},
		{Package: route, May: []string{access, outcome, signals, sentinelWire, follow, radix, observe, traces, tracing}},
		{Package: watch, May: []string{access, outcome, signals, sentinelWire, follow, roles, backoff, radix, observe}},
		{Package: access, May: []string{outcome, signals, sentinelWire, radix, observe}},
		{Package: outcome, May: []string{sentinelWire, radix, observe}},
		{Package: signals},
		{Package: follow, May: []string{observe}},
		{Package: roles},
		{Package: "sentinel/internal/follow/sim", May: []string{follow}},
		{Package: radixv2, May: []string{sentinel, sentinelWire, radix}, Tests: []string{"sentinel/radixv2/pubsub"}},
		{Package: "sentinel/radixv2/sentinel", May: []string{radixv2, sentinel}, Tests: []string{"sentinel/radixv2/pubsub", "sentinel/radixv2/util"}},
		{Package: "sentinel/radixv2/pool", May: []string{radixv2}, Tests: []string{"sentinel/radixv2/util"}},
		{Package: "sentinel/radixv2/pubsub", May: []string{radixv2}},
		{Package: "sentinel/radixv2/util", May: []string{radixv2}},
	}
}
