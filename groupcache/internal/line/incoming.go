package line

import (
	"bufio"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
)

// next reads a frame. The body is overwritten by the next one.
func next(r *bufio.Reader) (frame.Head, []byte, error) {
	raw, err := r.Peek(frame.HeadSize)
	if err != nil {
		return frame.Head{}, nil, err
	}
	h, err := frame.ParseHead(raw)
	if err != nil {
		return h, nil, err
	}
	n := frame.HeadSize + int(h.Length)
	if raw, err = r.Peek(n); err != nil {
		return h, nil, err
	}
	_, _ = r.Discard(n) // the cache was looked into
	return h, raw[frame.HeadSize:], nil
}

// whole reports whether the next frame can be read without waiting.
func whole(r *bufio.Reader) bool {
	n := r.Buffered()
	if n < frame.HeadSize {
		return false
	}
	raw, _ := r.Peek(frame.HeadSize) // it is there
	h, err := frame.ParseHead(raw)
	return err != nil || n >= frame.HeadSize+int(h.Length)
}
