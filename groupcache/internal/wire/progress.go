package wire

import "time"

const (
	// Stall is how long nothing may come of what is on its way between two peers, or be taken of
	// it.
	Stall = 10 * time.Second
	// Slowest is how many bytes a second there must be on average, apart from one stall.
	Slowest = 64 << 10
)

// Long is how long so many bytes may take at most, apart from a stall.
func Long(bytes int64) time.Duration { return time.Duration(bytes/Slowest) * time.Second }

// Progress says how long to wait for the next part of what comes bit by bit. The zero value is for
// what has just begun.
type Progress struct {
	bytes  int64
	waited time.Duration
}

// Patience is how long to wait for the next part. It is negative if what came was too little.
func (p *Progress) Patience() time.Duration { return min(Stall, Stall+Long(p.bytes)-p.waited) }

// Came takes note of a part that was waited for. Only the waiting counts, not what was done
// between: that is no fault of the peer.
func (p *Progress) Came(bytes int, waited time.Duration) {
	p.bytes += int64(bytes)
	p.waited += waited
}
