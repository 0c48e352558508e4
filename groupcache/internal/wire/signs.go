package wire

import (
	"sync"
	"time"
)

// The distances at which a marked peer that is loading says so. A client waits for longer.
const (
	// FirstSign is how long a peer loads before it says so.
	FirstSign = 10 * time.Millisecond
	// NextSign is the time between two signs.
	NextSign = 100 * time.Millisecond
)

// Signs tell a peer that its request is worked at, while it is. Make them with StartSigns.
type Signs struct {
	send func() error

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool // guarded by mu
}

// StartSigns calls send after FirstSign and then at each NextSign, until Stop or an error of it.
func StartSigns(send func() error) *Signs {
	s := &Signs{send: send}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(FirstSign, s.show)
	return s
}

// show holds the lock while it sends: Stop waits for that, as the answer must not be written at the
// same time.
func (s *Signs) show() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.send() != nil {
		return
	}
	s.timer.Reset(NextSign)
}

// Stop ends the signs. The answer may be written then. There may be none to stop: s may be nil.
func (s *Signs) Stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.timer.Stop()
}
