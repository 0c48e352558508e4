package frame

import "fmt"

// Joiner joins the pieces of long bodies. It takes memory for the bytes that have arrived, not for
// those announced, and for no more than AtOnce, or one body. Make it with its bounds; it is for one
// reader.
type Joiner struct {
	// Streams is how many bodies may be under way at once. More are malformed.
	Streams int
	// Limit is how long the body may be that begins with a head. A longer one is read, but not
	// kept.
	Limit func(Head) int64

	open map[uint32]*joined
	held int // bytes of open
}

type joined struct {
	first    Head
	body     []byte
	tooLarge bool
}

// Whole is a body all of which has arrived.
type Whole struct {
	// Head is the first one; its Length is that of the first piece.
	Head Head
	// Body may be overwritten once the next frame is read, unless Owned.
	Body  []byte
	Owned bool
	// TooLarge says that it was longer than allowed, and was not kept.
	TooLarge bool
}

// Add takes the next frame. The body is whole if ok; if it is not, more pieces follow.
func (j *Joiner) Add(h Head, body []byte) (w Whole, ok bool, err error) {
	o := j.open[h.Stream]
	more := h.Flags&More != 0
	switch {
	case o == nil && !more:
		return Whole{Head: h, Body: body, TooLarge: int64(len(body)) > j.Limit(h)}, true, nil
	case o == nil && len(j.open) >= j.Streams:
		return Whole{}, false, ErrMalformed
	case o == nil:
		if j.open == nil {
			j.open = make(map[uint32]*joined)
		}
		o = &joined{first: h}
		j.open[h.Stream] = o
	case h.Kind != o.first.Kind:
		return Whole{}, false, ErrMalformed
	}
	if more && len(body) == 0 { // or it would cost nothing to go on for ever
		return Whole{}, false, ErrMalformed
	}
	j.held -= len(o.body)
	o.add(body, j.Limit(o.first))
	j.held += len(o.body)
	if j.held > AtOnce && j.held > len(o.body) {
		return Whole{}, false, fmt.Errorf("%w: more than %d bytes in pieces at once", ErrMalformed, AtOnce)
	}
	if more {
		return Whole{}, false, nil
	}
	j.Drop(h.Stream)
	return Whole{Head: o.first, Body: o.body, Owned: true, TooLarge: o.tooLarge}, true, nil
}

func (o *joined) add(body []byte, limit int64) {
	if o.tooLarge || int64(len(o.body))+int64(len(body)) > limit {
		o.tooLarge, o.body = true, nil
		return
	}
	o.body = append(o.body, body...)
}

// Any reports whether a body is under way.
func (j *Joiner) Any() bool { return len(j.open) > 0 }

// Open reports whether a body of the stream is under way.
func (j *Joiner) Open(stream uint32) bool { return j.open[stream] != nil }

// Drop forgets what has arrived of a body: the rest will not come.
func (j *Joiner) Drop(stream uint32) {
	if o := j.open[stream]; o != nil {
		j.held -= len(o.body)
		delete(j.open, stream)
	}
}

// TooLarge reports whether the body under way of a stream is longer than allowed.
func (j *Joiner) TooLarge(stream uint32) bool {
	o := j.open[stream]
	return o != nil && o.tooLarge
}
