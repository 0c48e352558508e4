package wire_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// BenchmarkGet is one connection shared by a number of callers, each with a deadline, at a real
// server.
func BenchmarkGet(b *testing.B) {
	server := redis.StartServer(b)
	for _, size := range []int{100, 64 << 10} {
		if _, err := server.Do(b.Context(), "SET", "a", string(make([]byte, size))); err != nil {
			b.Fatal(err)
		}
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%d bytes, %d callers", size, callers), func(b *testing.B) {
				conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", server.Addr())
				if err != nil {
					b.Fatal(err)
				}
				c := wire.NewConn(conn, wire.Options{Epoch: time.Now().Add(-time.Second), Calls: &wire.Calls{}, Go: func(f func()) { go f() }})
				defer c.Close()
				ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
				defer cancel()
				b.ReportAllocs()
				b.SetParallelism(callers)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						var got []byte
						if err := c.Do(ctx, radix.Cmd(&got, "GET", "a")); err != nil || len(got) != size {
							b.Errorf("%d bytes, %v", len(got), err)
							return
						}
					}
				})
			})
		}
	}
}
