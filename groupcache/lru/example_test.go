package lru_test

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/lru"
)

func Example() {
	c := lru.New(2)
	for _, name := range []string{"a", "b", "c"} {
		c.Add(name, "value of "+name, time.Time{})
	}
	_, ok := c.Get("a")
	value, _ := c.Get("c")
	fmt.Println(ok, value)
	// Output: false value of c
}
