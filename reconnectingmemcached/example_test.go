package reconnectingmemcached_test

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached"
)

// While no server answers, the caller uses its fallback at once.
func Example() {
	c := reconnectingmemcached.NewClient(reconnectingmemcached.Options{
		Servers: []string{"unix/socket/that/is/not/there"},
		Timeout: 100 * time.Millisecond,
	})
	defer func() { _ = c.Close() }()

	items, ok := c.GetMulti([]string{"a", "b"})
	fmt.Println(len(items), ok)
	// Output: 0 false
}
