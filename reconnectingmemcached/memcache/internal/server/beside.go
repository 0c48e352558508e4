package server

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

const (
	// largeReply is from which size on a reply to a GetMulti is asked for on a connection beside
	// the one that all share, lest the calls behind it wait for its end.
	largeReply = 256 << 10
	// notedSize is from which size on a value is remembered.
	notedSize = 8 << 10
	// notedKeys is how many are.
	notedKeys = 4096
	// besidePause is how long large replies are asked for as all others after no connection for
	// them could be had.
	besidePause = 30 * time.Second
)

// beside is a server's second connection, for GetMultis with large replies. It is dialled when the
// first is expected.
type beside struct {
	line  atomic.Pointer[line]
	from  atomic.Int64 // when it may be used, in nanoseconds of the client's clock
	sizes atomic.Pointer[notedSizes]
}

// notedSizes are those of large values as they were last read. A key may push out another's.
type notedSizes struct {
	seed maphash.Seed
	of   [notedKeys]atomic.Uint64 // the upper half is the key's hash
}

// note takes note of the size of a value; of a small one only if it has come on the line beside,
// where a large one was expected.
func (b *beside) note(l *line, key string, size int) {
	known := b.sizes.Load()
	switch {
	case size < notedSize && (known == nil || l != b.line.Load()):
		return
	case known == nil:
		b.sizes.CompareAndSwap(nil, &notedSizes{seed: maphash.MakeSeed()})
		known = b.sizes.Load()
	}
	hash := maphash.String(known.seed, key)
	known.of[hash%notedKeys].Store(hash>>32<<32 | uint64(size)) //nolint:gosec // it is below 1<<31.
}

// wanted reports whether a large reply is expected.
func (b *beside) wanted(r *protocol.Request, now int64) bool {
	known := b.sizes.Load()
	if known == nil || r.Alone || now < b.from.Load() {
		return false
	}
	expected := uint64(0)
	for _, key := range r.Keys {
		hash := maphash.String(known.seed, key)
		if noted := known.of[hash%notedKeys].Load(); noted>>32 == hash>>32 {
			expected += noted & (1<<32 - 1)
		}
	}
	return expected >= largeReply
}

// placeOf is where the line for a request is kept.
func (s *Server) placeOf(r *protocol.Request) *atomic.Pointer[line] {
	switch {
	case r.Op == protocol.OpGetMulti && s.beside.wanted(r, s.Env.Now()):
		return &s.beside.line
	case r.Op.Rare() && s.untried.wanted(r.Op, s.Env.Now):
		return &s.untried.lines[r.Op]
	}
	return &s.current
}

// leave gives up a line. If it was the one beside and never worked, there may be no second
// connection to be had.
func (s *Server) leave(l *line) {
	if l.kept.CompareAndSwap(l, nil) && l.kept == &s.beside.line && !l.worked.Load() {
		s.beside.from.Store(s.Env.Now() + int64(besidePause))
	}
}
