package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// master is the name under which the sentinels know the primary.
	master = "mymaster"

	holdfastName = "holdfast"
	radixName    = "radix"
	goRedisName  = "go-redis"
	rueidisName  = "rueidis"
	batchesName  = "go-redis AutoPipeline"
	duplexName   = "go-redis FullDuplex"
)

// client is what all clients have.
type client interface {
	Get(ctx context.Context, key string) (string, error)
	Set(ctx context.Context, key, value string) error
	Close()
}

// settings are what a client is made from.
type settings struct {
	Sentinels []string
	PushOnly  bool              // holdfast's mode; the others have no other
	Via       map[string]string // proxies, by the addresses of the servers that they lead to
}

// open makes the client of this name, with its own defaults wherever the comparison does not need
// another choice.
func open(ctx context.Context, name string, s settings, dials *dialLog) (client, error) {
	dials.via = s.Via
	switch name {
	case holdfastName:
		return openHoldfast(ctx, s, dials)
	case radixName:
		return openRadix(ctx, s, dials)
	case goRedisName:
		return openGoRedis(s, dials), nil
	case batchesName, duplexName:
		return openBatches(s, dials, name == duplexName)
	case rueidisName:
		return openRueidis(s, dials)
	}
	if slices.Contains(throughNames(), name) {
		return openThrough(ctx, name, s, dials)
	}
	return nil, fmt.Errorf("no client %q; there are %s", name, strings.Join(allNames(), ", "))
}

// clientNames are those that are compared unless others are asked for.
func clientNames() []string { return []string{holdfastName, radixName, goRedisName, rueidisName} }

// rareNames are clients that are compared only on demand.
func rareNames() []string { return append([]string{batchesName, duplexName}, throughNames()...) }

func allNames() []string { return append(clientNames(), rareNames()...) }

// dialLog notes each connection that a client opens or tries to open.
type dialLog struct {
	via map[string]string // of the settings; not changed once the client is there

	mu    sync.Mutex
	dials []dial // guarded by mu
}

// DialContext dials as a net.Dialer does. A client that dials in a loop is bounded by what the
// system allows.
func (d *dialLog) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.with(ctx, &net.Dialer{Timeout: 5 * time.Second}, network, addr)
}

func (d *dialLog) with(ctx context.Context, dialer *net.Dialer, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	d.dials = append(d.dials, dial{time.Now().UnixNano(), addr})
	d.mu.Unlock()
	return dialer.DialContext(ctx, network, cmp.Or(d.via[addr], addr))
}

func (d *dialLog) list() []dial {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]dial(nil), d.dials...)
}
