package peer

import (
	"context"
	"errors"
	"sync/atomic"
)

const (
	// setsAtOnce is how many values are on their way to a peer at once. More would wait for each
	// other there, and be taken for what the peer does not answer.
	setsAtOnce = 64
	// removesAtOnce is how many removals are, and values that cost no more.
	removesAtOnce = 256
	// smallValue is how many bytes such a value has at most.
	smallValue = 2 << 10
)

// turns has what a peer is told wait until less is under way to it. A peer that hangs has none wait
// for long: the requests under way fail, and then the peer is down.
type turns struct {
	sets, removes chan struct{}
	bytes         atomic.Int64 // of the values, and of the keys that were gathered, that are on their way
}

func newTurns(most int) turns {
	return turns{sets: make(chan struct{}, min(setsAtOnce, most)), removes: make(chan struct{}, min(removesAtOnce, most))}
}

// errNotBegun is the error of a Set whose caller has left before its turn.
var errNotBegun = errors.New("its caller has left before its turn")

// areFree reports whether a removal need not wait for its turn.
func (t *turns) areFree() bool { return len(t.removes) < cap(t.removes) }

// take waits for the turn of a request. Then bytes are on their way to the peer, its own among
// them, until over is called.
func (t *turns) take(ctx context.Context, size int, left <-chan struct{}) (bytes int64, over func(), err error) {
	places := t.removes
	if size > smallValue {
		places = t.sets
	}
	select {
	case <-left:
		return 0, nil, errNotBegun
	default:
	}
	select {
	case places <- struct{}{}:
	case <-left:
		return 0, nil, errNotBegun
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	return t.bytes.Add(int64(size)), func() {
		t.bytes.Add(-int64(size))
		<-places
	}, nil
}
