package store_test

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/store"
)

func Example() {
	s := store.New(store.Options{MaxBytes: 1 << 20})
	s.Put(store.Item{Key: "user:1", Value: "Ada", Expire: time.Now().Add(time.Hour).UnixNano()})
	if v, ok := s.Get("user:1"); ok {
		fmt.Println(v.Value)
	}
	st := s.Stats()
	fmt.Println(st.Items, st.Bytes, st.Hits)
	// Output:
	// Ada
	// 1 9 1
}
