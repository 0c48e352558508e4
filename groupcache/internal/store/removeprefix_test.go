package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

func TestRemovePrefix(t *testing.T) {
	for _, c := range []struct {
		prefix string
		left   int
	}{{"none", 2001}, {"a", 1000}, {"", 0}} {
		s := store.New(store.Options{MaxBytes: 4 << 20})
		for i := range 1000 {
			s.Put(store.Item{Key: fmt.Sprint("a", i), Value: "v"})
			s.Put(store.Item{Key: fmt.Sprint("b", i), Value: "v"})
		}
		s.Put(store.Item{Key: "a large one", Value: strings.Repeat("v", 1<<20)})
		s.RemovePrefix(c.prefix)
		stats := s.Stats()
		if stats.Items != int64(c.left) {
			t.Errorf("%q: %d are left, want %d", c.prefix, stats.Items, c.left)
		}
		for i := range 1000 {
			if _, ok := s.Get(fmt.Sprint("a", i)); ok == strings.HasPrefix("a", c.prefix) {
				t.Fatalf("%q: a%d is there: %v", c.prefix, i, ok)
			}
		}
	}
}
