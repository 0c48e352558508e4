// Package workload is the application of a drill: readers that go through a cache to a simulated
// database, at times and for keys that a seed fixes.
package workload

import (
	"math/rand/v2"
	"time"
)

// Shape says what an application asks for. All fields must be set.
type Shape struct {
	Seed    uint64
	Rate    int     // arrivals per second, reads and updates
	Keys    int     // number of different keys
	Zipf    float64 // exponent of the popularity, above 1
	Updates float64 // share of the arrivals that change a value, 0 to 1
}

// Arrival is a request that the outside world makes at a fixed time, whether the application keeps
// up or not.
type Arrival struct {
	At     time.Time
	Key    int // 0 is the most popular
	Update bool
	Firm   bool // is carried out however long it has waited
	Phase  int
}

// Stream makes the same sequence of arrivals for the same shape. It is not safe for concurrent use.
type Stream struct {
	shape Shape
	zipf  *rand.Zipf
	coin  *rand.Rand
	count int64
}

// NewStream returns the sequence from its beginning.
func NewStream(s Shape) *Stream {
	return &Stream{
		shape: s,
		zipf:  rand.NewZipf(rand.New(rand.NewPCG(s.Seed, 1)), s.Zipf, 1, uint64(s.Keys-1)),
		coin:  rand.New(rand.NewPCG(s.Seed, 2)),
	}
}

// Next returns the next arrival of a stream that began at start. Arrivals are evenly spaced.
func (s *Stream) Next(start time.Time) Arrival {
	at := start.Add(time.Duration(s.count) * time.Second / time.Duration(s.shape.Rate))
	s.count++
	return Arrival{At: at, Key: int(s.zipf.Uint64()), Update: s.coin.Float64() < s.shape.Updates}
}

// Shares returns the share of the reads that goes to each of the servers, given the owner of each
// key. It is measured on the beginning of the stream.
func Shares(s Shape, owners []int, servers int) []float64 {
	const drawn = 100_000
	stream := NewStream(s)
	shares := make([]float64, servers)
	for range drawn {
		shares[owners[stream.Next(time.Time{}).Key]] += 1.0 / drawn
	}
	return shares
}
