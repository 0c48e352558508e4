package store

// ticker is a coarse clock: it ticks once in so many counts. Times of it that are more than 65 535
// ticks apart look closer than they are.
type ticker struct {
	now    uint16
	counts int // since the last tick
}

// count counts one, and ticks if there have been so many since the last tick.
func (t *ticker) count(every int) {
	if t.counts++; t.counts >= every {
		t.now++
		t.counts = 0
	}
}

// since returns how many ticks ago a time was.
func (t *ticker) since(then uint16) uint16 { return t.now - then }
