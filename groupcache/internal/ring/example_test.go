package ring_test

import (
	"fmt"

	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
)

func Example() {
	a := ring.New([]string{"http://a:1", "http://b:1", "http://c:1"})
	b := ring.New([]string{"http://c:1", "http://a:1", "http://b:1"})
	fmt.Println(a.Get("user:1") == b.Get("user:1"), len(a.Owners(nil, "user:1", 2)))
	// Output: true 2
}
