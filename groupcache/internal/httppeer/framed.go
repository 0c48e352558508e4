package httppeer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// Framed asks one peer by frames on one connection while there is such a connection, else by
// requests of HTTP.
type Framed struct {
	*Transport
	line atomic.Pointer[line.Line]
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	busy   bool       // there is a connection, or one is being made; guarded by mu
	wished bool       // another one was wished for meanwhile; guarded by mu
	not    time.Time  // before which none is made; guarded by mu
	closed bool       // guarded by mu
	steady steadiness // guarded by mu
	failed error      // why none could be made at last; guarded by mu
}

var _ wire.Quick = (*Framed)(nil)

func newFramed(t *Transport) *Framed {
	f := &Framed{Transport: t}
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

const (
	// upgradeFor bounds making a connection.
	upgradeFor = 5 * time.Second
	// refusedFor is for how long a peer that has not gone on with frames is not asked to again:
	// something on the way does not know it.
	refusedFor = time.Minute
)

// Probe implements wire.Transport. A peer that takes frames is then asked by them, as soon as there
// is a connection.
func (f *Framed) Probe(ctx context.Context) (wire.Greeting, error) {
	g, err := f.Transport.Probe(ctx)
	if err == nil && g.Marked && f.offered.Load() && f.line.Load() == nil {
		f.wishLine()
	}
	return g, err
}

// wishLine has a connection made, unless there is one.
func (f *Framed) wishLine() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || time.Now().Before(f.not) {
		return
	}
	if f.busy {
		f.wished = true
		return
	}
	f.busy = true
	f.work.Go(f.keep)
}

// keep makes a connection, and another one when it has ended, until none can be made: then a
// greeting has to find the peer.
func (f *Framed) keep() {
	for {
		l, err := f.connect()
		if f.made(err); err != nil {
			if f.ended(err) {
				return
			}
			continue
		}
		began := time.Now()
		f.line.Store(l)
		select {
		case <-l.Ended():
		case <-f.life.Done():
		}
		f.line.CompareAndSwap(l, nil)
		l.Close()
		select {
		case <-time.After(f.lost(l.Cause(), time.Since(began))):
		case <-f.life.Done():
			return
		}
	}
}

// ended tells why no connection could be made, and reports whether none is wished for meanwhile.
func (f *Framed) ended(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	refused := errors.Is(err, errNoUpgrade)
	if refused {
		f.not = time.Now().Add(refusedFor)
	}
	f.busy = f.wished && !refused && !f.closed
	f.wished = false
	return !f.busy
}

// made takes note of a connection that was made, unless there is an error.
func (f *Framed) made(err error) {
	f.client.lines.made(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
}

// lost takes note of a connection that has ended, and returns how long to wait for another one.
func (f *Framed) lost(cause error, lived time.Duration) time.Duration {
	f.client.lines.lost(cause)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steady.ended(lived)
}

// Route implements wire.Quick.
func (f *Framed) Route() wire.Route {
	if f.HasLine() {
		return wire.ByFrames
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.busy && f.steady.unsteady():
		return wire.Unsteady
	case f.busy:
		return wire.Connecting
	case !f.offered.Load():
		return wire.NotOffered
	case errors.Is(f.failed, errNoUpgrade):
		return wire.NotLetThrough
	case f.failed != nil:
		return wire.NoConnection
	}
	return wire.NotOffered
}

// connect makes a connection and finds out whether frames get through.
func (f *Framed) connect() (*line.Line, error) {
	ctx, cancel := context.WithTimeout(f.life, upgradeFor)
	defer cancel()
	conn, err := f.upgrade(ctx)
	if err != nil {
		return nil, err
	}
	l := line.New(conn, line.Options{MaxValueSize: f.client.MaxValueSize, MaxAnswers: f.client.answersLimit, Stamp: f.stamp})
	if _, err := l.Probe(ctx); err != nil {
		l.Close()
		return nil, errors.Join(errNoUpgrade, err)
	}
	return l, nil
}

// stamp numbers changes told by frames like those told by HTTP.
func (f *Framed) stamp() (s frame.Stamp, done func()) {
	n, floor := f.session.begin()
	return frame.Stamp{Time: time.Now(), N: n, Floor: floor}, func() { f.session.end(n) }
}

// HasLine implements wire.Quick.
func (f *Framed) HasLine() bool {
	l := f.line.Load()
	return l != nil && !l.Leaves()
}

// Renew implements wire.Quick.
func (f *Framed) Renew() {
	if l := f.line.Swap(nil); l != nil {
		l.Close()
	}
}

// Close ends the connection.
func (f *Framed) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.work.Wait()
	f.Transport.Close()
}

// carry returns the headers of the trace of a request.
func (f *Framed) carry(ctx context.Context) line.Trace {
	if f.client.Tracer == nil {
		return nil
	}
	var list []string
	f.client.Tracer.Inject(ctx, func(key, value string) { list = append(list, key, value) })
	if list == nil {
		return nil
	}
	b := multiwire.AppendRequest(nil, list)
	if len(b) > frame.MaxName {
		return nil // HTTP would not carry it either
	}
	return b
}

// over returns the connection for a request of a group and a key, nil if it goes by HTTP.
func (f *Framed) over(group, key string) *line.Line {
	if l := f.line.Load(); l != nil && !l.Leaves() && line.Fits(group, key) {
		return l
	}
	return nil
}

// wasTaken reports whether the peer was asked by frames. What was not can be asked by HTTP.
func wasTaken(err error) bool { return !errors.Is(err, wire.ErrNotTaken) }

// Quick implements wire.Quick.
func (f *Framed) Quick(ctx context.Context, q wire.Question) (wire.Pending, bool) {
	l := f.over(q.Group, q.Key)
	if l == nil {
		return wire.Pending{}, false
	}
	p, err := l.Begin(q, f.carry(ctx), nil)
	return p, err == nil
}

// Get implements wire.Transport.
func (f *Framed) Get(ctx context.Context, group, key string, alive func()) (wire.Answer, error) {
	if l := f.over(group, key); l != nil {
		if a, _, err := l.Get(ctx, wire.Question{Group: group, Key: key}, f.carry(ctx), alive); wasTaken(err) {
			return a, err
		}
	}
	return f.Transport.Get(ctx, group, key, alive)
}

// GetMulti implements wire.Transport.
func (f *Framed) GetMulti(ctx context.Context, group string, keys []string, alive func()) ([]wire.Answer, error) {
	if l := f.over(group, ""); l != nil {
		if answers, err := l.GetMulti(ctx, group, keys, f.carry(ctx), alive); wasTaken(err) {
			return answers, err
		}
	}
	return f.Transport.GetMulti(ctx, group, keys, alive)
}

// GetCached implements wire.Transport.
func (f *Framed) GetCached(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	if l := f.over(group, ""); l != nil {
		if answers, err := l.GetCached(ctx, group, keys, f.carry(ctx)); wasTaken(err) {
			return answers, err
		}
	}
	return f.Transport.GetCached(ctx, group, keys)
}

// Written implements wire.Transport.
func (f *Framed) Written(ctx context.Context, group string, within time.Duration, keys []string) ([]wire.Answer, error) {
	if l := f.over(group, ""); l != nil {
		if answers, err := l.Written(ctx, group, within, keys); wasTaken(err) {
			return answers, err
		}
	}
	return f.Transport.Written(ctx, group, within, keys)
}

// Set implements wire.Transport.
func (f *Framed) Set(ctx context.Context, group, key, value string, expire int64, alive func()) error {
	if l := f.over(group, key); l != nil {
		if err := l.Set(ctx, group, key, value, expire, f.carry(ctx), alive); wasTaken(err) {
			return err
		}
	}
	return f.Transport.Set(ctx, group, key, value, expire, alive)
}

// Remove implements wire.Transport.
func (f *Framed) Remove(ctx context.Context, group, key string) error {
	if l := f.over(group, key); l != nil {
		if err := l.Remove(ctx, group, f.carry(ctx), key); wasTaken(err) {
			return err
		}
	}
	return f.Transport.Remove(ctx, group, key)
}

// RemoveMulti implements wire.Transport.
func (f *Framed) RemoveMulti(ctx context.Context, group string, keys []string) error {
	if l := f.over(group, ""); l != nil {
		if err := l.Remove(ctx, group, f.carry(ctx), keys...); wasTaken(err) {
			return err
		}
	}
	return f.Transport.RemoveMulti(ctx, group, keys)
}

// Sweep implements wire.Transport.
func (f *Framed) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	if l := f.over(group, s.Prefix); l != nil {
		if err := l.Sweep(ctx, group, f.carry(ctx), s); wasTaken(err) {
			return err
		}
	}
	return f.Transport.Sweep(ctx, group, s)
}

// Offer implements wire.Transport.
func (f *Framed) Offer(ctx context.Context, group, from string, keys []string) error {
	if l := f.over(group, from); l != nil {
		if err := l.Offer(ctx, group, from, keys); wasTaken(err) {
			return err
		}
	}
	return f.Transport.Offer(ctx, group, from, keys)
}

// Forget implements wire.Transport.
func (f *Framed) Forget(ctx context.Context) error {
	if l := f.line.Load(); l != nil {
		if err := l.Forget(ctx); wasTaken(err) {
			return err
		}
	}
	return f.Transport.Forget(ctx)
}
