package line

import (
	"io"
	"net"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
)

const (
	// longAtOnce is how many long bodies take turns; others wait. A short frame waits for one piece
	// of each at most.
	longAtOnce = 4
	// lend is from which length on a body is written from where it is: a copy costs more than
	// another part of a write.
	lend = 2 << 10
	// keepBuffer is the largest buffer that is kept for the next write.
	keepBuffer = 256 << 10
)

// writer gathers frames, so that many go out with one write. A caller that finds it idle writes;
// requests queued meanwhile go out with the next write, by a goroutine that ends when there is
// nothing left. Long bodies are cut, and short frames go between their pieces.
type writer struct {
	to  io.Writer
	tcp bool // several parts go out with one write

	mu      sync.Mutex
	queue   []byte          // guarded by mu
	lent    []lentBody      // of queue; guarded by mu
	size    int             // of queue and lent; guarded by mu
	spare   []byte          // guarded by mu
	long    []*longBody     // guarded by mu
	built   int             // bytes of long whose memory is not shared; guarded by mu
	told    time.Time       // when those that wait were told; guarded by mu
	writing bool            // guarded by mu
	own     bool            // by who asks, and waits for nothing else meanwhile; guarded by mu
	since   time.Duration   // when that began, as the watch counts; guarded by mu
	err     error           // guarded by mu
	room    sync.Cond       // of mu: something has gone out, or err is set
	gone    func(*longBody) // is told, with mu locked, of long bodies when pieces have gone out; may be nil
	before  func(bytes int) // is called before each write of so many bytes; may be nil
	failed  func(error)     // is told that a write has failed
	work    sync.WaitGroup
}

// lentBody belongs at an offset of the queue.
type lentBody struct {
	at   int
	body string
}

// longBody is the rest of one.
type longBody struct {
	head frame.Head
	lead []byte // goes before the first piece
	body string

	whole int  // length of lead and body at first
	begun bool // a piece has gone out
	built bool // the memory is its own
}

func (w *writer) init(to io.Writer, failed func(error)) {
	w.to, w.failed = to, failed
	w.room.L = &w.mu
	_, w.tcp = to.(*net.TCPConn)
}

// appendLocked queues a frame whose body is lead and body. A long body goes out piece by piece.
func (w *writer) appendLocked(h frame.Head, lead []byte, body string) {
	n := len(lead) + len(body)
	if n > frame.Piece {
		w.long = append(w.long, &longBody{head: h, lead: append([]byte(nil), lead...), body: body, whole: n})
		return
	}
	h.Length = uint32(n)
	before := len(w.queue)
	w.queue = append(h.Append(w.queue), lead...)
	if w.tcp && len(body) >= lend {
		w.lent = append(w.lent, lentBody{len(w.queue), body})
		w.size += len(body)
	} else {
		w.queue = append(w.queue, body...)
	}
	w.size += len(w.queue) - before
}

// appendBuiltLocked is appendLocked for a body that was made for this connection alone.
func (w *writer) appendBuiltLocked(h frame.Head, body string) {
	n := len(w.long)
	if w.appendLocked(h, nil, body); len(w.long) > n {
		w.long[n].built = true
		w.built += len(body)
	}
}

// dropLocked takes back the rest of a long body, and returns it, or nil.
func (w *writer) dropLocked(stream uint32) *longBody {
	for i, l := range w.long {
		if l.head.Stream == stream {
			w.long = append(w.long[:i], w.long[i+1:]...)
			w.doneLocked(l)
			return l
		}
	}
	return nil
}

// doneLocked takes note of a long body that has left the queue.
func (w *writer) doneLocked(l *longBody) {
	if l.built {
		w.built -= l.whole
	}
}

func (w *writer) idleLocked() bool {
	return w.writing || w.err != nil || len(w.queue) == 0 && len(w.long) == 0
}

// writeUnlocking writes the queue, unless somebody does already. It unlocks mu.
func (w *writer) writeUnlocking() {
	if w.idleLocked() {
		w.mu.Unlock()
		return
	}
	w.writing = true
	w.onceUnlocking()
}

// gatherUnlocking is writeUnlocking, after others had the chance to queue something, too.
func (w *writer) gatherUnlocking() {
	if w.idleLocked() {
		w.mu.Unlock()
		return
	}
	w.writing = true
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	w.onceUnlocking()
}

// handUnlocking has another goroutine write the queue. It unlocks mu.
func (w *writer) handUnlocking() {
	defer w.mu.Unlock()
	if !w.idleLocked() {
		w.writing = true
		w.work.Go(w.drain)
	}
}

// onceUnlocking makes one write, and leaves the rest to a goroutine. It unlocks mu.
func (w *writer) onceUnlocking() {
	more := w.passLocked()
	if more {
		w.work.Go(w.drain)
	}
	w.mu.Unlock()
}

// drain writes until nothing is queued.
func (w *writer) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		w.mu.Unlock()
		runtime.Gosched() // those who were woken by answers have more to ask
		w.mu.Lock()
		if !w.passLocked() {
			return
		}
	}
}

// passLocked makes one write, for which it unlocks mu, and reports whether more is queued.
func (w *writer) passLocked() (more bool) {
	batch, lent := w.queue, w.lent
	w.queue, w.spare, w.lent, w.size = w.spare[:0], nil, nil, 0
	batch, lent, cut := w.cutLocked(batch, lent)
	w.mu.Unlock()
	err := w.write(batch, lent)
	if err != nil {
		w.failed(err)
	}
	w.mu.Lock()
	w.own = false
	for _, l := range cut {
		if len(l.lead)+len(l.body) == 0 {
			w.doneLocked(l)
		}
		if err == nil && w.gone != nil {
			w.gone(l)
		}
	}
	if err == nil && len(cut) > 0 {
		w.tellWaitingLocked()
	}
	if cap(batch) <= keepBuffer {
		w.spare = batch
	}
	w.room.Broadcast()
	w.writing = w.err == nil && (len(w.queue) > 0 || len(w.long) > 0)
	return w.writing
}

// tellEvery is how often those that wait for their turn are told that others go out.
const tellEvery = 20 * time.Millisecond

// tellWaitingLocked tells of the long bodies that wait for their turn: they wait for the others,
// not for the peer.
func (w *writer) tellWaitingLocked() {
	if w.gone == nil || len(w.long) == 0 {
		return
	}
	now := time.Now()
	if now.Sub(w.told) < tellEvery {
		return
	}
	w.told = now
	for _, l := range w.long {
		w.gone(l)
	}
}

// turnsLocked is how many long bodies take turns. Those that have begun are among them.
func (w *writer) turnsLocked() (n int) {
	all := 0
	for _, l := range w.long[:min(len(w.long), longAtOnce)] {
		if all += l.whole; n > 0 && all > frame.AtOnce {
			break
		}
		n++
	}
	return n
}

// cutLocked takes a piece of each long body whose turn it is.
func (w *writer) cutLocked(batch []byte, lent []lentBody) ([]byte, []lentBody, []*longBody) {
	if len(w.long) == 0 {
		return batch, lent, nil
	}
	turns := w.turnsLocked()
	cut := append([]*longBody(nil), w.long[:turns]...)
	rest := w.long[:0]
	for i, l := range w.long {
		if i >= turns {
			rest = append(rest, l)
			continue
		}
		lead := l.lead[:min(len(l.lead), frame.Piece)]
		body := l.body[:min(len(l.body), frame.Piece-len(lead))]
		h := l.head
		h.Length = uint32(len(lead) + len(body))
		l.lead, l.body = l.lead[len(lead):], l.body[len(body):]
		l.begun = true
		l.head.Flags, l.head.Group = 0, 0 // they belong to the first frame
		if len(l.lead)+len(l.body) > 0 {
			h.Flags |= frame.More
			rest = append(rest, l)
		}
		batch = append(h.Append(batch), lead...)
		if w.tcp {
			lent = append(lent, lentBody{len(batch), body})
		} else {
			batch = append(batch, body...)
		}
	}
	clear(w.long[len(rest):])
	w.long = rest
	return batch, lent, cut
}

func (w *writer) write(batch []byte, lent []lentBody) error {
	if w.before != nil {
		size := len(batch)
		for _, l := range lent {
			size += len(l.body)
		}
		w.before(size)
	}
	if len(lent) == 0 {
		_, err := w.to.Write(batch)
		return err
	}
	parts := make(net.Buffers, 0, 2*len(lent)+1)
	at := 0
	for _, l := range lent {
		parts = append(parts, batch[at:l.at], unsafe.Slice(unsafe.StringData(l.body), len(l.body))) // it is only read
		at = l.at
	}
	if at < len(batch) {
		parts = append(parts, batch[at:])
	}
	_, err := parts.WriteTo(w.to)
	return err
}

// endLocked ends all waiting for room, and queues nothing any more.
func (w *writer) endLocked(err error) {
	if w.err == nil {
		w.err = err
		w.queue, w.lent, w.long, w.size, w.built = nil, nil, nil, 0, 0
		w.room.Broadcast()
	}
}
