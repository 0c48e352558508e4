package grpcpeer

import "sync"

// buffers are used again, for answers to several keys.
var buffers = sync.Pool{New: func() any { return new([]byte) }} //nolint:gochecknoglobals // a pool of buffers is no state

// keepBuffer is the largest buffer that is kept for the next answer.
const keepBuffer = 2 << 20

// borrow returns an empty buffer.
func borrow() *[]byte { return buffers.Get().(*[]byte) } //nolint:forcetypeassert // nothing else is stored

func giveBack(b *[]byte) {
	if cap(*b) > keepBuffer {
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
}
