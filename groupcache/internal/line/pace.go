package line

import (
	"bufio"
	"net"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// idleFor is how long nothing may come from a peer that waits for no answer. Lines at rest say
// something more often.
const idleFor = 5 * time.Minute

// patience lets a peer take its time, as long as it takes something now and then.
type patience struct {
	conn  net.Conn
	until time.Time
}

// extend is called before each write. A long body may take long: a peer that takes it steadily is
// not cut off.
func (p *patience) extend(bytes int) {
	long := wire.Long(int64(bytes))
	if now := time.Now(); p.until.Sub(now) < wire.Stall/2+long {
		p.until = now.Add(wire.Stall + long)
		_ = p.conn.SetWriteDeadline(p.until)
	}
}

// reading gives up a peer of which nothing comes any more, or too little of what it has begun to
// send.
type reading struct {
	conn  net.Conn
	until time.Time
	begun bool // pieces are missing
	so    wire.Progress
}

// begin is called before each read, and says when that was.
func (r *reading) begin(in *bufio.Reader, j *frame.Joiner) time.Time {
	begun := j.Any()
	if begun != r.begun {
		r.begun, r.so = begun, wire.Progress{}
	}
	if whole(in) {
		return time.Time{}
	}
	now := time.Now()
	switch left := r.until.Sub(now); {
	case begun:
		r.until = now.Add(r.so.Patience())
	case left > idleFor || left < idleFor/2:
		r.until = now.Add(idleFor)
	default:
		return now
	}
	_ = r.conn.SetReadDeadline(r.until)
	return now
}

// came is called after each read, with what begin has returned.
func (r *reading) came(bytes int, since time.Time) {
	if !r.begun {
		return
	}
	waited := time.Duration(0)
	if !since.IsZero() {
		waited = time.Since(since)
	}
	r.so.Came(bytes, waited)
}
