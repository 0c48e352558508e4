package staleness

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errDead   = errors.New("the source does not answer")
	errClosed = errors.New("the source is closed")
)

// slowdown is how many times longer a call takes while the source is slow.
const slowdown = 40

// value is the source's value of a key.
type value struct {
	At      int64  `json:"at"` // when the source gave it, in nanoseconds since 1970
	Content string `json:"content"`
}

func encode(v value) ([]byte, error) { return json.Marshal(v) }

func decode(data []byte) (v value, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}

// source is a simulated one: a call takes a slot for a while, and waits for one if all are taken.
// While it is dead it refuses at once. It is safe for concurrent use.
type source struct {
	content string
	usual   time.Duration
	cost    atomic.Int64 // of a call now, in nanoseconds
	dead    atomic.Bool
	slots   chan struct{}
	called  func() // before each call
	gone    chan struct{}
	closing sync.Once
}

func newSource(cost time.Duration, slots int, content string, called func()) *source {
	s := &source{content: content, usual: cost, slots: make(chan struct{}, slots), called: called, gone: make(chan struct{})}
	s.revive()
	return s
}

func (s *source) revive() {
	s.cost.Store(int64(s.usual))
	s.dead.Store(false)
}

func (s *source) slow() { s.cost.Store(int64(slowdown * s.usual)) }

func (s *source) kill() { s.dead.Store(true) }

// get returns the value of any key.
func (s *source) get(ctx context.Context) (value, error) {
	s.called()
	if s.dead.Load() {
		return value{}, errDead
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return value{}, ctx.Err()
	case <-s.gone:
		return value{}, errClosed
	}
	defer func() { <-s.slots }()
	timer := time.NewTimer(time.Duration(s.cost.Load()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return value{}, ctx.Err()
	case <-s.gone:
		return value{}, errClosed
	}
	if s.dead.Load() {
		return value{}, errDead
	}
	return value{At: time.Now().UnixNano(), Content: s.content}, nil
}

// close ends the calls under way.
func (s *source) close() { s.closing.Do(func() { close(s.gone) }) }
