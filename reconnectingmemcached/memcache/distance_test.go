package memcache_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// distance is a way to an in-memory server, in a bubble's virtual time: a dial takes one round
// trip, and data half of one.
type distance struct {
	fake *testutil.Fake
	rtt  time.Duration // at first

	moved     atomic.Int64 // the round trip now, in nanoseconds; 0: as at first
	nearProxy bool         // dials end at once
	hole      atomic.Int64 // until when they do not end

	mu    sync.Mutex
	conns []*far // guarded by mu
}

// move has the server be so far away from now on, to all connections.
func (d *distance) move(rtt time.Duration) { d.moved.Store(int64(rtt)) }

func (d *distance) roundTrip() time.Duration {
	if moved := d.moved.Load(); moved > 0 {
		return time.Duration(moved)
	}
	return d.rtt
}

// dial is for Options.DialContext.
func (d *distance) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if !sleep(ctx, time.Until(time.Unix(0, d.hole.Load()))) || !d.nearProxy && !sleep(ctx, d.roundTrip()) {
		return nil, ctx.Err()
	}
	there, err := d.fake.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	near, here := net.Pipe()
	f := &far{way: d, here: here, there: there}
	go f.carry(there, here)
	go f.carry(here, there)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, f)
	return near, nil
}

// stall holds what the server sends on the connections that are open now for so long, as a lost
// packet does.
func (d *distance) stall(pause time.Duration) {
	d.eachConn(func(f *far) { f.until.Store(time.Now().Add(pause).UnixNano()) })
}

// stallRequests holds what the client sends on the connections that are open now for so long.
func (d *distance) stallRequests(pause time.Duration) {
	d.eachConn(func(f *far) { f.requests.Store(time.Now().Add(pause).UnixNano()) })
}

// cut ends the connections there are, from the server's side.
func (d *distance) cut() { d.eachConn(func(f *far) { _ = f.there.Close() }) }

func (d *distance) eachConn(do func(f *far)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.conns {
		do(f)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// far is one connection.
type far struct {
	way         *distance
	here, there net.Conn
	until       atomic.Int64 // what comes from there is held until then
	requests    atomic.Int64 // what goes there, until then
}

type parcel struct {
	data []byte
	due  time.Time
}

// carry moves data in one direction until either end closes.
func (f *far) carry(to, from net.Conn) {
	defer func() { _, _ = f.here.Close(), f.there.Close() }()
	parcels := make(chan parcel, 1<<10)
	go f.deliver(to, parcels)
	defer close(parcels)
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			parcels <- parcel{bytes.Clone(b[:n]), time.Now().Add(f.way.roundTrip() / 2)}
		}
		if err != nil {
			return
		}
	}
}

func (f *far) deliver(to net.Conn, parcels <-chan parcel) {
	for p := range parcels {
		time.Sleep(time.Until(p.due))
		held := &f.requests
		if to == f.here {
			held = &f.until
		}
		time.Sleep(time.Until(time.Unix(0, held.Load())))
		if _, err := to.Write(p.data); err != nil {
			_ = to.Close()
		}
	}
}
