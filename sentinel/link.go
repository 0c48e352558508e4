package sentinel

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// leastRole is how long a server has for one question for its role, at least.
const leastRole = 300 * time.Millisecond

// link is a connection to a server that is, or may become, the primary.
type link struct {
	number     follow.Link
	addr       string
	conn       *wire.Conn
	heard      *atomic.Int64 // when anything was last read on conn
	beats      *atomic.Int64 // when the heartbeat was last heard, on a connection of its own
	generation atomic.Uint64 // of the seat it serves; 0: none yet
	inquirer   inquirer
}

// open dials addr for shared use.
func (f *follower) open(ctx context.Context, number follow.Link, addr string, beats *atomic.Int64) (*link, error) {
	c := f.primary.client
	l := &link{number: number, addr: addr, heard: new(atomic.Int64), beats: beats, inquirer: inquirer{servers: c.servers}}
	conn, err := c.servers.connect(ctx, addr, wire.Options{
		Heard: l.heard, Silence: c.options.HeartbeatTimeout, Witness: beats,
		OnAlarm: func(wire.Alarm) { f.alarmed(l.generation.Load()) },
		OnEnd: func(err error) {
			at := time.Now()
			c.director.post(func() { f.ended(l, at, err) })
		},
	})
	if err != nil {
		return nil, err
	}
	l.conn = conn
	return l, nil
}

// candidate is a link that the state has asked for, and that serves nobody yet.
type candidate struct {
	ctx    context.Context //nolint:containedctx // its end is that of the candidate
	cancel context.CancelFunc
	link   *link // nil while it is dialled
}

// dial opens a link. One that takes the place of a connection that was lost is watched by the same heartbeat.
//
//nolint:contextcheck // it belongs to the client, not to whoever brought the news.
func (f *follower) dial(d follow.Dial) {
	c := f.primary.client
	ctx, cancel := context.WithCancel(c.ctx)
	v := &candidate{ctx: ctx, cancel: cancel}
	f.candidates[d.Link] = v
	beats := new(atomic.Int64)
	if f.mended != nil && f.pulse != nil {
		beats = f.pulse.beats
	}
	c.spawn(func() {
		l, err := f.open(ctx, d.Link, d.Addr, beats)
		posted := c.director.post(func() {
			switch {
			case f.candidates[d.Link] != v:
				if l != nil {
					l.conn.End(wire.ErrRetired)
				}
			case err != nil:
				f.fail(d.Link, err)
			default:
				v.link = l
				f.step(follow.Dialled{Link: d.Link})
			}
		})
		if !posted && l != nil {
			l.conn.End(ErrClosed)
		}
	})
}

// ask asks the server of a link for its role.
//
//nolint:contextcheck // the question belongs to the link.
func (f *follower) ask(number follow.Link) {
	v := f.candidates[number]
	if v == nil {
		return
	}
	c := f.primary.client
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(v.ctx, c.roleTimeout())
		defer cancel()
		r, err := v.link.inquirer.ask(ctx, v.link.conn)
		c.director.post(func() {
			switch {
			case f.candidates[number] != v:
			case err != nil:
				v.link.conn.End(err)
				f.fail(number, err)
			default:
				f.step(follow.Answered{Link: number, Primary: r.primary})
			}
		})
	})
}

func (f *follower) fail(number follow.Link, err error) {
	f.drop(number)
	f.explain(err)
	f.step(follow.Failed{Link: number, Err: err, Permanent: permanent(err)})
}

// drop forgets a link, and ends what it does.
func (f *follower) drop(number follow.Link) {
	if v := f.candidates[number]; v != nil {
		v.cancel()
		delete(f.candidates, number)
	}
}

// end closes a link.
func (f *follower) end(number follow.Link) {
	if v := f.candidates[number]; v != nil && v.link != nil {
		v.link.conn.End(wire.ErrRetired)
	}
	f.drop(number)
}

// ended takes in that a link was lost.
func (f *follower) ended(l *link, at time.Time, err error) {
	v := f.candidates[l.number]
	switch {
	case f.primary.client.ctx.Err() != nil:
	case l == f.link:
		f.step(follow.Ended{Link: l.number, At: at, Err: err})
	case v != nil && v.link == l:
		f.drop(l.number)
		f.step(follow.Ended{Link: l.number, At: at, Err: err})
	}
}
