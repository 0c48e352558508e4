package line

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"unsafe"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const (
	// maxActive is how many requests of a peer may be under way; more are refused.
	maxActive = maxSlots
	// fullQueue is how many bytes of answers may wait before no more requests are read.
	fullQueue = 8 << 20
	// maxHeld is how many bytes the requests under way may have together, unless it is but one.
	// More are refused.
	maxHeld = frame.AtOnce
)

// Server is what sessions share. All fields but Fresh are required.
type Server struct {
	// Local answers.
	Local wire.Local
	// Explain is what HTTP would answer in the place of a value.
	Explain func(ctx context.Context, group, key string, a wire.Answer) (status int, message string)
	// Panicked is told what a request has panicked with.
	Panicked func(v any)
	// Fresh reports whether what has a stamp is to be carried out; nil for always.
	Fresh func(frame.Stamp) bool
}

// Session answers a peer on one connection.
type Session struct {
	server Server
	conn   net.Conn
	out    writer
	life   context.Context
	end    context.CancelFunc
	jobs   sync.WaitGroup
	joiner frame.Joiner
	pace   reading

	// building is held while an answer to several keys is made, until it is queued: there is memory
	// for one of them, beside those that are.
	building sync.Mutex

	active  map[uint32]context.CancelFunc // by stream; guarded by out.mu
	held    int                           // bytes of the requests under way; guarded by out.mu
	leaving bool                          // no more requests are taken; guarded by out.mu
}

// NewSession makes a session of a connection. Serve answers.
func NewSession(ctx context.Context, conn net.Conn, s Server) *Session {
	x := &Session{server: s, conn: conn, active: make(map[uint32]context.CancelFunc)}
	x.life, x.end = context.WithCancel(ctx)
	x.out.init(conn, x.fail)
	x.out.before = (&patience{conn: conn}).extend
	x.pace.conn = conn
	x.joiner = frame.Joiner{Streams: maxJoined, Limit: x.limit}
	return x
}

// Serve answers until the connection ends, and waits for the requests under way. in has the bytes
// that were read of the connection before.
func (x *Session) Serve(in *bufio.Reader) error {
	err := x.read(in)
	x.fail(err)
	x.jobs.Wait()
	x.out.work.Wait()
	return err
}

// GoAway tells the peer to ask no more. It ends the connection once all is answered.
func (x *Session) GoAway() {
	x.out.mu.Lock()
	if x.leaving {
		x.out.mu.Unlock()
		return
	}
	x.leaving = true
	x.out.appendLocked(frame.Head{Kind: frame.GoAway}, nil, "")
	x.out.handUnlocking()
}

// Close ends the connection.
func (x *Session) Close() { x.fail(net.ErrClosed) }

func (x *Session) fail(err error) {
	x.out.mu.Lock()
	x.out.endLocked(err)
	x.out.mu.Unlock()
	x.end()
	_ = x.conn.Close()
}

// limit is how long the body of a request may be.
func (x *Session) limit(h frame.Head) int64 {
	switch h.Kind {
	case frame.Get:
		return MaxKey + 2*maxMessage
	case frame.Set:
		return x.server.Local.MaxValueSize() + 2*MaxKey + frame.Piece
	}
	return multiwire.MaxRequest + 2*maxMessage
}

// read carries out requests. What has come together is answered together.
func (x *Session) read(in *bufio.Reader) error {
	for {
		begun := x.pace.begin(in, &x.joiner)
		h, body, err := next(in)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && !x.joiner.Any() && x.isAtWork():
			continue
		default:
			return err
		}
		x.pace.came(frame.HeadSize+len(body), begun)
		if err := x.take(h, body); err != nil {
			return err
		}
		if whole(in) {
			x.flushIfFull()
		} else {
			x.flush()
		}
	}
}

// isAtWork reports whether the peer waits for an answer, or takes one: it need not say anything.
// A write finds out whether it is there.
func (x *Session) isAtWork() bool {
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	return x.out.err == nil && (len(x.active) > 0 || x.out.writing)
}

func (x *Session) flush() {
	x.out.mu.Lock()
	x.waitLocked()
	x.out.writeUnlocking()
}

// flushIfFull writes once there are many answers.
func (x *Session) flushIfFull() {
	x.out.mu.Lock()
	if x.out.size < keepBuffer {
		x.out.mu.Unlock()
		return
	}
	x.waitLocked()
	x.out.writeUnlocking()
}

// waitLocked waits while too many answers are queued, and somebody writes them: meanwhile the peer
// cannot ask for more.
func (x *Session) waitLocked() {
	for x.out.size > fullQueue && x.out.writing && x.out.err == nil {
		x.out.room.Wait()
	}
}

// waitBuiltLocked waits while too much is queued that was made for this peer alone.
func (x *Session) waitBuiltLocked() {
	for x.out.built > fullQueue && x.out.writing && x.out.err == nil {
		x.out.room.Wait()
	}
}

// take takes a frame.
func (x *Session) take(h frame.Head, body []byte) error {
	switch {
	case h.Kind == frame.Cancel:
		x.cancel(h.Stream)
		return nil
	case !h.Kind.IsRequest():
		if h.Kind.IsIgnored() {
			return nil
		}
		return wrong("an answer, kind %d", h.Kind)
	}
	w, ok, err := x.joiner.Add(h, body)
	if err != nil || !ok {
		return err
	}
	if w.TooLarge {
		x.refuse(h.Stream, frame.TooLarge, "")
		return nil
	}
	parts, err := frame.Split(w.Head, w.Body)
	if err != nil {
		return err
	}
	if w.Head.Kind == frame.Get && len(parts.Trace) == 0 && x.found(h.Stream, parts) {
		return nil
	}
	return x.start(w, parts)
}

// found answers a Get from the cache.
func (x *Session) found(stream uint32, parts frame.Body) bool {
	a, ok := x.server.Local.Find(view(parts.Group), view(parts.Rest))
	if !ok {
		return false
	}
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	if x.leaving || x.fullLocked() {
		return false
	}
	x.appendValueLocked(stream, a)
	return true
}

// fullLocked reports whether no more requests are taken before others are answered: those whose
// long answers wait are not. No peer of ours has as many.
func (x *Session) fullLocked() bool { return len(x.active)+len(x.out.long) >= maxActive }

// view is a string of bytes that stay as they are while it is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (x *Session) appendValueLocked(stream uint32, a wire.Answer) {
	var lead [frame.ValueOverhead]byte
	x.out.appendLocked(frame.Head{Kind: frame.Value, Stream: stream}, frame.AppendValue(lead[:0], a.Expire), a.Value)
}

// cancel ends what a caller has left.
func (x *Session) cancel(stream uint32) {
	if x.joiner.Open(stream) { // the rest of it does not come
		x.joiner.Drop(stream)
		x.refuse(stream, frame.Canceled, "")
		return
	}
	x.out.mu.Lock()
	end := x.active[stream]
	if end == nil && x.out.dropLocked(stream) != nil {
		x.appendRefusalLocked(stream, frame.Canceled, "")
	}
	x.out.mu.Unlock()
	if end != nil {
		end()
	}
}

func (x *Session) refuse(stream uint32, c frame.Code, message string) {
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	x.appendRefusalLocked(stream, c, message)
}

func (x *Session) appendRefusalLocked(stream uint32, c frame.Code, message string) {
	body := frame.AppendRefusal(nil, c, message[:min(len(message), maxRefusal)])
	x.out.appendLocked(frame.Head{Kind: frame.Refused, Stream: stream}, body, "")
}

// maxRefusal is how many bytes of the reason of a refusal are told.
const maxRefusal = 1 << 10

// errAgain ends the connection of a peer that uses a stream twice.
var errAgain = errors.New("a request on a stream that has one")

// start has a request carried out by a goroutine.
func (x *Session) start(w frame.Whole, parts frame.Body) error {
	j := &job{session: x, stream: w.Head.Stream, kind: w.Head.Kind, group: string(parts.Group), trace: append([]byte(nil), parts.Trace...)}
	if w.Owned {
		j.body = parts.Rest
	} else {
		j.body = append([]byte(nil), parts.Rest...)
	}
	x.out.mu.Lock()
	defer x.out.mu.Unlock()
	switch {
	case x.active[j.stream] != nil:
		return wrong("%w", errAgain)
	case x.leaving:
		x.appendRefusalLocked(j.stream, frame.Leaving, "")
		return nil
	case x.fullLocked(), x.held > 0 && x.held+j.size() > maxHeld:
		x.appendRefusalLocked(j.stream, frame.Busy, "")
		return nil
	}
	ctx, cancel := context.WithCancel(x.life)
	x.active[j.stream] = cancel
	x.held += j.size()
	x.jobs.Go(func() {
		defer cancel()
		j.run(ctx)
	})
	return nil
}
