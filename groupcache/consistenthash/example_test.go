package consistenthash_test

import (
	"fmt"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
)

func Example() {
	ring := consistenthash.New(50, nil)
	ring.Add("http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080")
	fmt.Println(ring.Get("a"))
	// Output: http://10.0.0.1:8080
}

func ExampleMap_Owners() {
	ring := consistenthash.New(50, nil)
	ring.Add("http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080")
	for _, peer := range ring.Owners(nil, "a", 2) { // the owner, and its stand-ins
		fmt.Println(peer)
	}
	// Output:
	// http://10.0.0.1:8080
	// http://10.0.0.3:8080
}
