package director

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// link is a connection to a server that is, or may become, the primary.
type link struct {
	number     follow.Link
	addr       string
	conn       *wire.Conn
	heard      *atomic.Int64 // when anything was last read on conn
	beats      *atomic.Int64 // when the heartbeat was last heard, on a connection of its own
	generation atomic.Uint64 // of the seat it serves; 0: none yet
	inquirer   access.Inquirer
}

// open dials addr for shared use.
func (f *follower) open(ctx context.Context, number follow.Link, addr string, beats *atomic.Int64) (*link, error) {
	d := f.director
	l := &link{number: number, addr: addr, heard: new(atomic.Int64), beats: beats, inquirer: access.NewInquirer(d.Servers)}
	conn, err := d.Servers.Connect(ctx, addr, wire.Options{
		Heard: l.heard, Silence: d.HeartbeatTimeout, Witness: beats,
		OnAlarm: func(wire.Alarm) { f.alarmed(l.generation.Load()) },
		OnEnd: func(err error) {
			at := time.Now()
			d.post(func() { f.ended(l, at, err) })
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

// dial opens a link. One that takes the place of a connection that was lost is watched by the same
// heartbeat.
//
//nolint:contextcheck // it belongs to the client, not to the bringer of the news.
func (f *follower) dial(e follow.Dial) {
	d := f.director
	ctx, cancel := context.WithCancel(d.Context)
	v := &candidate{ctx: ctx, cancel: cancel}
	f.candidates[e.Link] = v
	beats := new(atomic.Int64)
	if f.mended != nil && f.pulse != nil {
		beats = f.pulse.beats
	}
	d.Spawn(func() {
		l, err := f.open(ctx, e.Link, e.Addr, beats)
		posted := d.post(func() {
			switch {
			case f.candidates[e.Link] != v:
				if l != nil {
					l.conn.End(wire.ErrRetired)
				}
			case err != nil:
				f.fail(e.Link, err)
			default:
				v.link = l
				f.step(follow.Dialled{Link: e.Link})
			}
		})
		if !posted && l != nil {
			l.conn.End(outcome.ErrClosed)
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
	d := f.director
	d.Spawn(func() {
		ctx, cancel := context.WithTimeout(v.ctx, d.Patience)
		defer cancel()
		r, err := v.link.inquirer.Ask(ctx, v.link.conn)
		d.post(func() {
			switch {
			case f.candidates[number] != v:
			case err != nil:
				v.link.conn.End(err)
				f.fail(number, err)
			default:
				f.step(follow.Answered{Link: number, Primary: r.Primary})
			}
		})
	})
}

func (f *follower) fail(number follow.Link, err error) {
	f.drop(number)
	f.explain(err)
	f.step(follow.Failed{Link: number, Err: err, Permanent: Permanent(err)})
}

// drop forgets a link, and ends its work.
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
	case f.director.Context.Err() != nil:
	case l == f.link:
		f.step(follow.Ended{Link: l.number, At: at, Err: err})
	case v != nil && v.link == l:
		f.drop(l.number)
		f.step(follow.Ended{Link: l.number, At: at, Err: err})
	}
}
