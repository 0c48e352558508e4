package singleflight_test

import (
	"fmt"

	"github.com/holdfast-go/holdfast/groupcache/singleflight"
)

func Example() {
	var g singleflight.Group
	v, err := g.Do("user:1", func() (any, error) { return "Ada", nil }) // callers meanwhile get the same
	fmt.Println(v, err)
	// Output: Ada <nil>
}
