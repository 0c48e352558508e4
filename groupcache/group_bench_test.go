package groupcache_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// benchGroup makes a group that has the keys in its cache.
//
//nolint:contextcheck // Close takes no context
func benchGroup(b *testing.B, keys int) (*groupcache.Group, []string) {
	b.Helper()
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = i.Close() })
	value := make([]byte, 100)
	g, err := i.NewGroup("bench", 64<<20, groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error {
		return dest.SetBytes(value, time.Time{})
	}))
	if err != nil {
		b.Fatal(err)
	}
	names := make([]string, keys)
	for i := range names {
		names[i] = "key " + strconv.Itoa(i)
		if _, err := g.View(b.Context(), names[i]); err != nil {
			b.Fatal(err)
		}
	}
	return g, names
}

func BenchmarkHit(b *testing.B) {
	g, names := benchGroup(b, 1024)
	ctx := context.Background()
	b.Run("View", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := g.View(ctx, names[i&1023]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("View/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := g.View(ctx, names[i&1023]); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("ByteViewSink", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			var v groupcache.ByteView
			if err := g.Get(ctx, names[i&1023], groupcache.ByteViewSink(&v)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ByteViewSink/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				var v groupcache.ByteView
				if err := g.Get(ctx, names[i&1023], groupcache.ByteViewSink(&v)); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkMiss(b *testing.B) {
	for what, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": b.Context()} {
		b.Run(what, func(b *testing.B) {
			g, _ := benchGroup(b, 0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := g.View(ctx, "key "+strconv.Itoa(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
