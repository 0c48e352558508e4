package sentinel

import "github.com/holdfast-go/holdfast/sentinel/internal/director"

// Owners is how many ids of sentinels are remembered.
func (c *Client) Owners() (n int) {
	for _, v := range c.director.Views() {
		n += v.Owners
	}
	return n
}

// Snapshot is what is known of a name, and what is closed when anybody is told of a change.
func (c *Client) Snapshot(name string) (*director.Snapshot, <-chan struct{}) {
	return c.director.Primary(name).Snapshot(), c.shared.Changed.Wait()
}
