package line

import (
	"bufio"
	"fmt"
	"time"
	"unsafe"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// maxJoined is how many long bodies of one peer may be under way at once. It sends fewer.
const maxJoined = 2 * longAtOnce

// read hands answers to the callers that wait for them, until the connection ends.
func (l *Line) read(r *bufio.Reader) error {
	joiner := frame.Joiner{Streams: maxJoined, Limit: l.answerLimit}
	for {
		h, body, err := next(r)
		if err != nil {
			return err
		}
		l.watch.signs.Add(1)
		switch {
		case h.Kind == frame.GoAway:
			l.leaving.Store(true)
		case h.Kind == frame.Loading:
			l.showLife(h)
		case h.Kind.IsRequest():
			return wrong("a request, kind %d", h.Kind)
		case h.Kind.IsIgnored():
		default:
			if err := l.takeAnswer(&joiner, h, body); err != nil {
				return err
			}
		}
		if l.leaving.Load() && l.isDone() {
			return ErrLeft
		}
	}
}

// takeAnswer takes an answer, or a piece of one. No answer in one frame is too long.
func (l *Line) takeAnswer(joiner *frame.Joiner, h frame.Head, body []byte) error {
	if h.Kind == frame.Refused { // the rest of the frame does not come
		joiner.Drop(h.Stream)
	}
	if h.Flags&frame.More == 0 && !joiner.Open(h.Stream) {
		return l.answered(h, frame.Whole{Head: h, Body: body})
	}
	l.showLife(h)
	w, ok, err := joiner.Add(h, body)
	if err == nil && ok {
		err = l.answered(frame.Head{Stream: h.Stream}, w)
	}
	return err
}

// answerLimit is how long the answer of a stream may be. That to a caller who has left is not kept.
func (l *Line) answerLimit(h frame.Head) int64 {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	if s := l.slotLocked(h.Stream); s != nil && s.call != nil {
		return s.call.limit
	}
	return 0
}

// showLife takes note of a frame that is not the last of its stream.
func (l *Line) showLife(h frame.Head) {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	s := l.slotLocked(h.Stream)
	if s == nil {
		return
	}
	l.watch.cameLocked(s, int(h.Length))
	if s.call == nil {
		s.heard = time.Since(l.began)
		return
	}
	l.aliveLocked(s.call)
}

// isDone reports whether all requests are answered.
func (l *Line) isDone() bool {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	return l.open == 0
}

// answered hands an answer to the call that waits for it. last is the head of the frame that came
// of it, without its length if that has been taken note of.
func (l *Line) answered(last frame.Head, w frame.Whole) error {
	l.out.mu.Lock()
	if s := l.slotLocked(last.Stream); s != nil {
		l.watch.cameLocked(s, int(last.Length)+s.size)
	}
	c, ok := l.freeLocked(w.Head.Stream)
	l.out.mu.Unlock()
	switch {
	case !ok:
		return wrong("an answer to stream %d, on which nothing was asked", w.Head.Stream)
	case c == nil:
		return nil
	}
	c.head = w.Head
	c.take(w)
	c.done <- struct{}{}
	return nil
}

// take keeps an answer.
func (c *call) take(w frame.Whole) {
	switch {
	case w.TooLarge:
		c.err = wire.ErrTooLarge
	case w.Head.Kind == frame.Refused:
		c.err = refusal(w.Body)
	case w.Head.Kind == frame.Value:
		value, expire, err := frame.ParseValue(w.Body)
		if c.err = err; err == nil {
			c.expire, c.value = expire, own(value, w)
		}
	case w.Owned:
		c.body = w.Body
	default:
		c.body = append([]byte(nil), w.Body...)
	}
}

// own makes a string of a part of a body.
func own(part []byte, w frame.Whole) string {
	if !w.Owned || cap(part)-len(part) > len(part)/8 {
		return string(part)
	}
	return unsafe.String(unsafe.SliceData(part), len(part)) // nobody else has it
}

// refusal is the error of a request that was not carried out.
func refusal(body []byte) error {
	code, message, err := frame.ParseRefusal(body)
	if err != nil {
		return wrong("a refusal without a reason")
	}
	switch code {
	case frame.NoGroup:
		return wire.ErrNoGroup
	case frame.TooLarge:
		return wire.ErrTooLarge
	case frame.Leaving:
		return wire.ErrNotTaken
	case frame.Busy:
		return wire.ErrBusy
	case frame.NotUnderstood:
		return fmt.Errorf("%w: %.200q", wire.ErrRefused, message)
	case frame.Canceled, frame.Stale, frame.Ending:
	}
	return fmt.Errorf("%w: %.200q", wire.ErrForeign, message)
}
