package server_test

import (
	"testing"
)

// BenchmarkGuard is what a healthy call pays beside the wire and the choice of its server: breaker,
// bound of calls in flight, watch, counters, histogram.
func BenchmarkGuard(b *testing.B) {
	s := newServer(b, "127.0.0.1:1")
	const key = "twenty-bytes-of-key!"
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := s.Guard(key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = s.Guard(key)
			}
		})
	})
}
