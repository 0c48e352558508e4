package memcache

import (
	"bufio"
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/gutter"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/loads"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Limits of the implementation that tests go to.
const (
	MaxMissedKeys = server.MaxMissedKeys
	LargeValue    = server.LargeValue
	AuthKey       = server.AuthKey
	MaxMultiKeys  = server.MaxMultiKeys
	ReplayBatch   = server.ReplayBatch
	CanaryKey     = protocol.CanaryKey
	LeaseFlags    = loads.LeaseFlags
)

// ReadReply feeds bytes to the parser of values, as the reply to a Get of key.
func ReadReply(in *bufio.Reader, key string) (*Item, error) {
	line, err := protocol.ReadLine(in)
	if err != nil {
		return nil, err
	}
	h, ok := protocol.ParseValueHeader(line)
	if !ok {
		return nil, protocol.BadReply(protocol.OpGet, line)
	}
	return protocol.ReadValue(in, h, key)
}

// ParseLine feeds a line to the parser of one-line replies, for each operation that has one.
func ParseLine(line []byte) {
	for o := protocol.OpSet; o < protocol.OpCount; o++ {
		protocol.ParseLine(o, line)
	}
}

// SetLookup replaces the look-up of host names.
func (c *Client) SetLookup(lookup func(ctx context.Context, host string) ([]netip.Addr, error)) error {
	core, err := c.start()
	if err == nil {
		core.Lookup = lookup
	}
	return err
}

// Choose does what every call pays before it reaches its server: the choice, and the look whether
// copies matter. What the server adds is measured in internal/server.
func (c *Client) Choose(key string) error {
	_, s, err := c.route(context.Background(), key)
	if err == nil && !s.Window.Shut() {
		err = ErrServerDown
	}
	return err
}

// Wire encodes a request as it is sent.
func Wire(op string, item *Item) string {
	for o := range protocol.OpCount {
		if o.Verb() == op {
			return string(protocol.AppendRequest(nil, o.Word(), &protocol.Request{Op: o, Key: item.Key, Item: item}))
		}
	}
	return ""
}

// Miss logs the keys k0 and on as deletions that their server has missed.
func (c *Client) Miss(n int) error {
	for i := range n {
		key := "k" + strconv.Itoa(i)
		_, s, err := c.route(context.Background(), key)
		if err != nil {
			return err
		}
		s.Missed.Add(key, server.MissedKey{})
	}
	return nil
}

// LetGo lets a server go in the middle of its calls.
func (c *Client) LetGo(addr string) {
	core := c.shared.core.Load()
	core.Dismiss([]*server.Server{core.All()[addresses.Addr{NetworkName: "tcp", Text: addr}]})
}

// SetGrace replaces the time in which a server that is down is looked for at its own address alone.
// To be called before any use.
func (c *Client) SetGrace(grace time.Duration) error {
	core, err := c.start()
	if err == nil {
		core.Grace = grace
	}
	return err
}

// CopyExpiration is that of a copy of an item.
func CopyExpiration(expiration int32, life time.Duration, now time.Time) int32 {
	return protocol.CopyExpiration(expiration, life, now)
}

// Holders are the servers that may have a copy of key, the first one first.
func Holders(key, owner string, addrs ...string) (holders []string) {
	var pool []*server.Server
	var of *server.Server
	for _, addr := range addrs {
		s := &server.Server{Address: addr, Seed: placement.Seed(addr)}
		if pool = append(pool, s); addr == owner {
			of = s
		}
	}
	for _, s := range gutter.HoldersOf(key, of, pool) {
		if s != nil {
			holders = append(holders, s.Address)
		}
	}
	return holders
}

// Deeds are what a write of the named operation does with copies, in the named phase, if the
// holders are up as given.
func Deeds(operation, in string, up ...bool) string {
	byName := map[string]phases.Phase{"up": phases.Up, "window": phases.WithCopies, "linger": phases.Linger, "down": phases.Down}
	words := [...]string{phases.DeedNone: "-", phases.DeedDelete: "delete", phases.DeedStore: "store", phases.DeedLog: "log"}
	for o := range protocol.OpCount {
		if o.Verb() == operation {
			todo := byName[in].Copying(o).Deeds([phases.CopyHolders]bool(up))
			return words[todo[0]] + " " + words[todo[1]]
		}
	}
	return "no such operation"
}

// Window is a window of one server.
type Window struct{ window phases.Window }

// Fall, Rise and Hear tell the window what happens, at a time of the client's clock.
func (w *Window) Fall(now time.Duration) { w.window.Fall(int64(now)) }

func (w *Window) Rise(now, linger, care time.Duration) {
	w.window.Rise(int64(now), linger, care)
}
func (w *Window) Hear(now, care time.Duration) { w.window.Hear(int64(now), care) }

// Phase is the server's; Shut and Known are the window's.
func (w *Window) Phase(now time.Duration, down bool) string {
	return [...]string{"up", "window", "linger", "down"}[w.window.Phase(int64(now), down)]
}
func (w *Window) Shut() bool  { return w.window.Shut() }
func (w *Window) Known() bool { return w.window.Known.Load() }

// ParseMeta feeds a line to the parser of replies to hand-overs.
func ParseMeta(line []byte) (size int, flags uint32, left int64, ok bool) {
	h, ok := protocol.ParseMetaHeader(line)
	return h.Size, h.Flags, h.TTL, ok
}

// IsOutdated reports whether a load whose lease is there since a time may not be joined by who has
// looked later and found another.
func IsOutdated(held int64, lease string, began int64, found string) bool {
	return loads.IsOutdated(held, lease, loads.Asking{Began: began, Token: found})
}
