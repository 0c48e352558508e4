package grpcpeer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

func benchmarkPair(b *testing.B, size int) wire.Transport {
	b.Helper()
	v := strings.Repeat("x", size)
	local := &standIn{
		get: func(context.Context, string, string, func()) (wire.Answer, error) { return wire.Answer{Value: v}, nil },
		getMulti: func(_ context.Context, _ string, keys []string) ([]wire.Answer, error) {
			answers := make([]wire.Answer, len(keys))
			for i := range answers {
				answers[i].Value = v
			}
			return answers, nil
		},
	}
	_, addr := serve(b, local, grpcpeer.Options{})
	return dial(b, addr, grpcpeer.Options{})
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{100, 10_000, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tr := benchmarkPair(b, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := tr.Get(b.Context(), "g", "k", ignore); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkGetMulti(b *testing.B) {
	keys := make([]string, 100)
	for _, size := range []int{100, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tr := benchmarkPair(b, size)
			b.ReportAllocs()
			b.SetBytes(int64(size * len(keys)))
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := tr.GetMulti(b.Context(), "g", keys, ignore); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
