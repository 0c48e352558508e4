package director

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	beatInterval = 100 * time.Millisecond
	// pulseTick is how often silence is judged. A tick that comes late counts for little more than
	// one that does not: the process was starved then, and the answer may be there unread.
	pulseTick = 25 * time.Millisecond
	tickWorth = pulseTick * 3 / 2
)

// pulse asks the primary for its role ten times a second, on a connection of its own, and measures
// its silence. What it finds goes to the state.
type pulse struct {
	follower  *follower
	addr      string
	term      follow.Link
	beats     *atomic.Int64
	link      atomic.Pointer[link] // whose connection carries the calls
	timeout   time.Duration
	cancel    context.CancelFunc
	now       signals.Waker             // asks for a beat now
	conn      atomic.Pointer[wire.Conn] // of the beat that is under way, or of the last; nil: none
	connected time.Time                 // when conn was opened
	dialling  atomic.Bool               // the beat under way waits for its connection
	inquirer  access.Inquirer
}

// startPulse begins to judge a primary that was just made one.
//
//nolint:contextcheck // it belongs to the client.
func startPulse(f *follower, l *link) *pulse {
	d := f.director
	ctx, cancel := context.WithCancel(d.Context)
	b := &pulse{
		follower: f, addr: l.addr, term: l.number, beats: l.beats, timeout: d.HeartbeatTimeout, cancel: cancel, now: signals.NewWaker(),
		inquirer: access.NewInquirer(d.Servers),
	}
	b.link.Store(l)
	d.Spawn(func() {
		err := b.run(ctx)
		stopped := ctx.Err() != nil
		cancel()
		if !stopped {
			b.post(follow.Died{Term: b.term, Err: err})
		}
	})
	return b
}

// post tells the state, if it still asks for this pulse.
func (b *pulse) post(e follow.Event) {
	f := b.follower
	f.director.post(func() {
		if f.pulse == b {
			f.step(e)
			if _, beat := e.(follow.Beat); !beat {
				f.publish()
			}
		}
	})
}

func (b *pulse) stop() {
	if b != nil {
		b.cancel()
	}
}

func (b *pulse) beatNow() {
	if b != nil {
		b.now.Wake()
	}
}

// beaten is the end of one beat.
type beaten struct {
	asked, connected time.Time
	err              error
}

// run returns why the server is no primary any more, or that ctx has ended.
func (b *pulse) run(ctx context.Context) error {
	defer func() {
		if conn := b.conn.Load(); conn != nil {
			conn.End(wire.ErrRetired)
		}
	}()
	results := make(chan beaten, 1)
	for {
		go func() { results <- b.beat(ctx) }()
		r := b.await(ctx, results)
		if r.err != nil {
			return r.err
		}
		b.post(follow.Beat{Term: b.term, Connected: r.connected, Asked: r.asked})
		if !signals.Sleep(ctx, beatInterval, b.now) {
			return ctx.Err()
		}
	}
}

// await waits for the end of a beat, and says how long the server is silent meanwhile.
func (b *pulse) await(ctx context.Context, results <-chan beaten) beaten {
	ticker := time.NewTicker(pulseTick)
	defer ticker.Stop()
	heard, silent, said := b.heard(), time.Duration(0), false
	for last := time.Now(); ; {
		select {
		case r := <-results:
			return r
		case <-ctx.Done():
			return <-results
		case <-ticker.C:
		}
		now := time.Now()
		if !b.dialling.Load() || b.link.Load().conn.InFlight() > 0 { // a slow dial alone is judged by its own limit
			silent += min(now.Sub(last), tickWorth)
		}
		last = now
		if h := b.heard(); h != heard {
			heard, silent = h, 0
		}
		if silent >= b.timeout && !said {
			said = true
			b.post(follow.Silent{Term: b.term, For: silent})
		}
	}
}

// heard is when the server was last heard at all.
func (b *pulse) heard() int64 { return max(b.link.Load().heard.Load(), b.beats.Load()) }

// beat asks for the role. A connection that was lost is opened again: only if that fails is the
// server at fault.
func (b *pulse) beat(ctx context.Context) beaten {
	for try := 0; ; try++ {
		conn, err := b.connect(ctx)
		if err != nil {
			return beaten{err: err}
		}
		asked := time.Now()
		r, err := b.inquirer.Ask(ctx, conn)
		switch {
		case err == nil && r.Primary:
			b.follower.primary.Offset.Store(r.Offset)
			b.follower.primary.Curt.Store(r.Curt)
			return beaten{asked: asked, connected: b.connected}
		case err == nil:
			return beaten{err: fmt.Errorf("%s: %w", b.addr, follow.ErrDemoted)}
		}
		if _, replied := wire.ErrorReply(err); replied || ctx.Err() != nil || try > 0 {
			return beaten{err: err}
		}
		if f := (*wire.Failure)(nil); !errors.As(err, &f) {
			return beaten{err: err}
		}
		conn.End(err)
		b.conn.Store(nil)
	}
}

func (b *pulse) connect(ctx context.Context) (*wire.Conn, error) {
	if conn := b.conn.Load(); conn != nil {
		return conn, nil
	}
	b.dialling.Store(true)
	defer b.dialling.Store(false)
	conn, err := b.follower.primary.Servers.Connect(ctx, b.addr, wire.Options{Heard: b.beats})
	if err != nil {
		return nil, err
	}
	b.connected = time.Now()
	b.conn.Store(conn)
	return conn, nil
}
