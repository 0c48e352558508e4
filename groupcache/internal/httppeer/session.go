package httppeer

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"
)

// windowSize is how many requests of one peer may overtake each other. A multiple of 64.
const windowSize = 16384

// session numbers the requests of this process to one peer. Each number is used once; those below
// the floor are used no more, so that a request that was given up and arrives after what followed
// it is not taken.
type session struct {
	client string
	target atomic.Pointer[string] // the process that has answered there

	mu    sync.Mutex
	next  uint64              // guarded by mu
	floor uint64              // all numbers below it are done; guarded by mu
	done  map[uint64]struct{} // above floor; guarded by mu
}

func newSession() *session { return &session{client: randomName(), done: make(map[uint64]struct{})} }

// randomName is a name that nobody else has.
func randomName() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return hex.EncodeToString(b[:])
}

func (s *session) begin() (n, floor uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = s.next
	s.next++
	for s.next-s.floor > windowSize { // a request that takes long has been taken long ago
		s.advanceLocked()
	}
	return n, min(s.floor, n)
}

func (s *session) advanceLocked() {
	delete(s.done, s.floor)
	s.floor++
}

func (s *session) end(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < s.floor {
		return
	}
	s.done[n] = struct{}{}
	for {
		if _, ok := s.done[s.floor]; !ok {
			return
		}
		s.advanceLocked()
	}
}

// windows know which requests of others have been taken.
type windows struct {
	mu    sync.Mutex
	of    map[string]*window // guarded by mu
	swept time.Time          // guarded by mu
}

// window knows which numbers of one session have been taken.
type window struct {
	floor, above uint64 // no number below floor or from above on is taken, or has been
	taken        [windowSize / 64]uint64
	last         time.Time
}

// remembered is for how long a session is: no signature is good for longer.
const remembered = 2*maxSkew + 10*time.Second

// take reports whether a request is a new one, and remembers it.
func (ws *windows) take(client string, n, floor uint64, now time.Time) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if now.Sub(ws.swept) > remembered {
		for name, w := range ws.of {
			if now.Sub(w.last) > remembered {
				delete(ws.of, name)
			}
		}
		ws.swept = now
	}
	w := ws.of[client]
	if w == nil {
		w = &window{}
		if ws.of == nil {
			ws.of = make(map[string]*window)
		}
		ws.of[client] = w
	}
	w.last = now
	return w.take(n, floor)
}

func (w *window) take(n, floor uint64) bool {
	w.floor = max(w.floor, min(floor, n))
	if n < w.floor || n+windowSize < w.above {
		return false
	}
	if n >= w.above {
		if n-w.above >= windowSize {
			w.taken = [windowSize / 64]uint64{}
			w.above = n
		}
		for ; w.above <= n; w.above++ {
			w.taken[w.above%windowSize/64] &^= 1 << (w.above % 64)
		}
	}
	bit := uint64(1) << (n % 64)
	slot := &w.taken[n%windowSize/64]
	if *slot&bit != 0 {
		return false
	}
	*slot |= bit
	return true
}
