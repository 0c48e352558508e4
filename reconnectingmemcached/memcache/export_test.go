package memcache

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
)

// Limits of the implementation that tests go to.
const (
	MaxMissedKeys = maxMissedKeys
	LargeValue    = largeValue
	AuthKey       = authKey
	MaxMultiKeys  = maxMultiKeys
	ReplayBatch   = replayBatch
	CanaryKey     = canaryKey
	LeaseFlags    = leaseFlags
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
		core.lookup = lookup
	}
	return err
}

// Guard does what every call pays beside the wire: choice of server, admission, watch, books.
func (c *Client) Guard(key string) error {
	s, err := c.route(context.Background(), key)
	if err != nil {
		return err
	}
	if !s.window.shut() {
		return ErrServerDown
	}
	r := protocol.Request{Op: protocol.OpGet, Key: key}
	permit, err := s.admit(&r)
	if err != nil {
		return err
	}
	f := flight{call: s.core.calls.take(), permit: permit, start: s.core.now()}
	s.watch.arm()
	s.book(&f, &r, &outcome{replied: true, ended: f.start}) // the reader's clock serves all replies that came together
	return nil
}

// ProbeDelay is the pause before a probe.
func ProbeDelay(cause error, attempt int) time.Duration { return probeDelay(cause, attempt) }

// Wire encodes a request as it is sent.
func Wire(op string, item *Item) string {
	for o := range protocol.OpCount {
		if o.Verb() == op {
			return string(protocol.AppendRequest(nil, o.Word(), &protocol.Request{Op: o, Key: item.Key, Item: item}))
		}
	}
	return ""
}

// Ramp bounds calls in flight.
type Ramp struct{ ramp limits.Ramp }

// NewRamp returns the bound of a healthy server.
func NewRamp(most int) *Ramp {
	r := new(Ramp)
	r.ramp.Init(most)
	return r
}

// Enter, Leave, Begin and Succeeded are those of the ramp.
func (r *Ramp) Enter(now func() int64) bool { return r.ramp.Enter(now) }
func (r *Ramp) Leave()                      { r.ramp.Leave() }
func (r *Ramp) Begin(now int64)             { r.ramp.Begin(now) }
func (r *Ramp) Succeeded(now func() int64)  { r.ramp.Succeeded(now) }

// DeleteAll deletes n keys on a connection as a replay does, and closes that.
func DeleteAll(conn net.Conn, n int) error {
	c := &session{conn: conn, in: bufio.NewReader(conn), stop: func() bool { return true }, patience: 50 * time.Millisecond, ending: "gets " + canaryKey + "\r\n"}
	defer c.close()
	keys := make(map[string]missedKey)
	for i := range n {
		keys["k"+strconv.Itoa(i)] = missedKey{}
	}
	return c.deleteAll(keys, func(map[string]missedKey) {})
}

// Readable reports whether bytes wait in a connection's socket.
func Readable(conn net.Conn) bool { return sockets.Readable(conn) }

// Discard closes a connection as one that is given up.
func Discard(conn net.Conn) { sockets.Discard(conn) }

// ReplyBeforeRequest steps a shared connection through what goroutines do too fast for a test: two
// replies arrive at once, the first answers a Set, and a second Set is sent before the reader looks
// at what is left. It returns what becomes of the reader.
func (c *Client) ReplyBeforeRequest(replies string) error {
	s, err := c.route(context.Background(), "k")
	if err != nil {
		return err
	}
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	l := &line{server: s, cancel: func() {}, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	conn := &meter{Conn: &scripted{near, replies}, server: s, line: l}
	l.connected(conn)
	r := &reader{line: l, conn: conn, in: bufio.NewReader(conn)}
	for range 2 {
		w := &protocol.Request{Op: protocol.OpSet, Key: "k", Item: &Item{Key: "k"}}
		waiting := s.core.calls.take()
		if err := l.enqueue(w, waiting, waiting.begin(), s.core.now()); err != nil {
			return err
		}
		if err := r.step(); err != nil {
			return err
		}
		<-waiting.done
	}
	return nil
}

// Miss logs the keys k0 and on as deletions that their server has missed.
func (c *Client) Miss(n int) error {
	for i := range n {
		key := "k" + strconv.Itoa(i)
		s, err := c.route(context.Background(), key)
		if err != nil {
			return err
		}
		s.missed.add(key, missedKey{})
	}
	return nil
}

// LimitLabels is how many servers that come from now on have a label of their own.
func (c *Client) LimitLabels(n int) {
	core := c.shared.core.Load()
	core.mu.Lock()
	defer core.mu.Unlock()
	core.labels = observe.NewLabels(n)
}

// LetGo lets a server go in the middle of its calls.
func (c *Client) LetGo(addr string) {
	core := c.shared.core.Load()
	core.dismiss([]*server{core.all()[addresses.Addr{NetworkName: "tcp", Text: addr}]})
}

// GivenUpUnwritten steps a Set through its time limit while its connection is still being made, and
// then connects that. It returns whether the Set is said to have been sent, and what is written in
// the end.
func (c *Client) GivenUpUnwritten(endStuck bool) (sent bool, written string, err error) {
	s, err := c.route(context.Background(), "k")
	if err != nil {
		return false, "", err
	}
	l := &line{server: s, cancel: func() {}, kick: make(chan struct{}, 1), gone: make(chan struct{})}
	waiting := s.core.calls.take()
	w := &protocol.Request{Op: protocol.OpSet, Key: "k", Item: &Item{Key: "k", Value: []byte("v")}}
	if err := l.enqueue(w, waiting, waiting.begin(), s.core.now()); err != nil {
		return false, "", err
	}
	l.overdue(s.core.now(), endStuck)
	l.connected(nil)
	_, batch := l.takeQueued()
	return waiting.sent, string(batch), nil
}

// WhileReplayEnds makes a call after the last look of a background replay, and before its end.
func (c *Client) WhileReplayEnds(call func()) error {
	s, err := c.route(context.Background(), "k")
	if err != nil {
		return err
	}
	s.replaying.Store(true)
	call()
	s.endReplay()
	return nil
}

// scripted is a connection that has all its replies there at once.
type scripted struct {
	net.Conn
	replies string
}

func (c *scripted) Read(b []byte) (int, error) {
	n := copy(b, c.replies)
	c.replies = c.replies[n:]
	return n, nil
}

// Candidate is where a server that is down is probed next.
func Candidate(at netip.Addr, addrs []netip.Addr, down time.Duration, attempt int) netip.Addr {
	return candidate(at, addrs, down < homeGrace, attempt)
}

// SetGrace replaces the time in which a server that is down is looked for at its own address alone.
// To be called before any use.
func (c *Client) SetGrace(grace time.Duration) error {
	core, err := c.start()
	if err == nil {
		core.grace = grace
	}
	return err
}

// QueuedBytes is how much waits to be written to a server.
func (c *Client) QueuedBytes(addr string) int {
	l := c.shared.core.Load().all()[addresses.Addr{NetworkName: "tcp", Text: addr}].current.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queued)
}

// Waiting is a request on a connection: when its call began, and whether its caller has left.
type Waiting struct {
	Start   int64
	Settled bool
}

// Oldest is the start by which the watch chooses when to look next, of requests in their order.
func Oldest(requests ...Waiting) (start int64, ok bool) {
	l := new(line)
	for _, r := range requests {
		c := new(calls).take()
		e := entry{call: c, generation: c.begin(), start: r.Start}
		if r.Settled {
			c.settle(e.generation)
		}
		l.waiting.push(e)
	}
	return l.oldest()
}

// CopyExpiration is that of a copy of an item.
func CopyExpiration(expiration int32, life time.Duration, now time.Time) int32 {
	return copyExpiration(expiration, life, now)
}

// Holders are the servers that may have a copy of key, the first one first.
func Holders(key, owner string, addrs ...string) (holders []string) {
	var pool []*server
	var of *server
	for _, addr := range addrs {
		s := &server{address: addr, seed: placement.Seed(addr)}
		if pool = append(pool, s); addr == owner {
			of = s
		}
	}
	for _, s := range holdersOf(key, of, pool) {
		if s != nil {
			holders = append(holders, s.address)
		}
	}
	return holders
}

// Deeds are what a write of the named operation does with copies, in the named phase, if the
// holders are up as given.
func Deeds(operation, in string, up ...bool) string {
	phases := map[string]phase{"up": phaseUp, "window": phaseWindow, "linger": phaseLinger, "down": phaseDown}
	words := [...]string{deedNone: "-", deedDelete: "delete", deedStore: "store", deedLog: "log"}
	for o := range protocol.OpCount {
		if o.Verb() == operation {
			todo := phases[in].copying(o).deeds([copyHolders]bool(up))
			return words[todo[0]] + " " + words[todo[1]]
		}
	}
	return "no such operation"
}

// Window is a window of one server.
type Window struct{ window window }

// Fall, Rise and Hear tell the window what happens, at a time of the client's clock.
func (w *Window) Fall(now time.Duration) { w.window.fall(int64(now)) }

func (w *Window) Rise(now, linger, care time.Duration) {
	w.window.rise(int64(now), linger, care)
}
func (w *Window) Hear(now, care time.Duration) { w.window.hear(int64(now), care) }

// Phase is the server's; Shut and Known are the window's.
func (w *Window) Phase(now time.Duration, down bool) string {
	return [...]string{"up", "window", "linger", "down"}[w.window.phase(int64(now), down)]
}
func (w *Window) Shut() bool  { return w.window.shut() }
func (w *Window) Known() bool { return w.window.known.Load() }

// ParseMeta feeds a line to the parser of replies to hand-overs.
func ParseMeta(line []byte) (size int, flags uint32, left int64, ok bool) {
	h, ok := protocol.ParseMetaHeader(line)
	return h.Size, h.Flags, h.TTL, ok
}

// IsOutdated reports whether a load whose lease is there since a time may not be joined by who has
// looked later and found another.
func IsOutdated(held int64, lease string, began int64, found string) bool {
	return (&loading{held: held, token: lease}).outdatedLocked(asking{began, found})
}
